"""A trace of some steps for TensorBoard's profiler."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from features.errors import FunnelError
from model.training.progress import Progress


class Profile:
    """Callback: traces the steps `first` to `last` into `directory`.

    Its `cuts` make the training report before the first of them and after the last. A training
    that resumes between the two makes no report there: call `reached` with its step, and the rest
    is traced.

    Raises:
        FunnelError: not 1 ≤ first ≤ last.
    """

    def __init__(self, directory: Path, first: int, last: int) -> None:
        if not 1 <= first <= last:
            raise FunnelError(
                f"profile = [{first}, {last}]: must be [first step, last step], "
                "with 1 ≤ first ≤ last"
            )
        self.directory, self.cuts, self._running = directory, (first - 1, last), False

    def __call__(self, progress: Progress) -> None:
        self.reached(progress.step)

    def reached(self, step: int) -> None:
        """Starts or stops the trace where the step calls for it."""
        before, last = self.cuts
        if not self._running and before <= step < last:
            tf.profiler.experimental.start(str(self.directory))
            self._running = True
        elif step >= last:
            self.close()

    def close(self) -> None:
        """Writes what was traced so far."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
