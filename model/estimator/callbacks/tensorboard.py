"""Scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from model.data.errors import naming_files
from model.training.progress import Progress


class TensorBoard:
    """Callback: writes losses, objectives' weights, learning rates, gate entropies, touched
    embedding rows, speed and metrics as scalars to `directory`.

    The file is opened at the first report: opening it fixes TensorFlow's devices, and a training
    that starts over removes the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: Any = None

    def __call__(self, progress: Progress) -> None:
        with naming_files(self.directory):
            self._write(progress)

    def _write(self, progress: Progress) -> None:
        self._writer = self._writer or tf.summary.create_file_writer(str(self.directory))
        with self._writer.as_default(step=progress.step):
            for group, values in _groups(progress).items():
                for name, value in values.items():
                    if value is not None:
                        tf.summary.scalar(f"{group}/{name}", value)
        self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def _groups(progress: Progress) -> dict[str, Mapping[str, float | None]]:
    if progress.metrics is not None:
        return {f"metric/{task}": own for task, own in progress.metrics.items()}
    return {
        "loss": progress.losses,
        "weight": progress.weights,
        "learning_rate": progress.learning_rates,
        "entropy": progress.entropies,
        "touched": progress.touched,
        "speed": {"rows_per_second": progress.rows_per_second, "waiting": progress.waiting},
    }
