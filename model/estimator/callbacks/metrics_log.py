"""Who watches a training: a log, TensorBoard, a profiler, and what ends it early."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import tensorflow as tf

from features.errors import FunnelError
from model.evaluation.conditions import Metric
from model.training.progress import Progress


class MetricsLog:
    """A JSON line for each report and each evaluation. A number that is not finite is written as
    null.

    An evaluation that is made up after its line was written, since its exporters were killed, has
    that line alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._evaluated: set[int] = set()

    def __call__(self, progress: Progress) -> None:
        if progress.metrics is not None and progress.step in self._evaluated:
            return
        line: dict[str, object] = {"step": progress.step}
        if progress.metrics is not None:
            line |= {"evaluation": progress.metrics}
        else:
            line |= {
                "loss": progress.losses,
                "weight": progress.weights,
                "learning_rate": progress.learning_rates,
            }
            line |= {"rows_per_second": progress.rows_per_second, "waiting": progress.waiting}
            line |= {"touched": progress.touched, "entropy": progress.entropies}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(_finite(line)) + "\n")

    def forget_after(self, step: int) -> None:
        """Drops the lines of later steps: an interrupted training goes on from an earlier one."""
        if not self.path.exists():
            return
        kept = [line for line in _lines(self.path) if line["step"] <= step]
        self._evaluated = {line["step"] for line in kept if "evaluation" in line}
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(unfinished, self.path)


def _lines(path: Path) -> list[dict]:
    """The log's lines; the last may be cut off."""
    found = []
    for text in path.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found


def last_fall(path: Path, every: int) -> tuple[int, float, float] | None:
    """(step, Σ_k w_k·L_k over the window before the last full one, the same over the last) of a
    MetricsLog's file.

    Windows are `every` steps; None where there are not two of them.
    """
    reports = [
        line
        for line in (_lines(path) if path.exists() else [])
        if "loss" in line and line["step"] % every == 0
    ]
    if len(reports) < 2 or None in (*reports[-1]["loss"].values(), *reports[-2]["loss"].values()):
        return None
    before, last = (
        sum(line["weight"][name] * loss for name, loss in line["loss"].items())
        for line in reports[-2:]
    )
    return reports[-1]["step"], before, last


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """Losses, weights of objectives, learning rates, entropies of gates, embedding rows touched,
    speed and metrics as scalars.

    The file is opened at the first report: to open it fixes TensorFlow's devices, and a training
    that starts over removes the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self._writer = directory, None

    def __call__(self, progress: Progress) -> None:
        if progress.metrics is not None:
            groups = {f"metric/{task}": own for task, own in progress.metrics.items()}
        else:
            groups = {
                "loss": progress.losses,
                "weight": progress.weights,
                "learning_rate": progress.learning_rates,
            }
            groups |= {"entropy": progress.entropies, "touched": progress.touched}
            groups |= {
                "speed": {"rows_per_second": progress.rows_per_second, "waiting": progress.waiting}
            }
        self._writer = self._writer or tf.summary.create_file_writer(str(self.directory))
        with self._writer.as_default(step=progress.step):
            for group, values in groups.items():
                for name, value in values.items():
                    if value is not None:
                        tf.summary.scalar(f"{group}/{name}", value)
        self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class Profile:
    """A trace of the steps `first` to `last`, for TensorBoard's profiler. Training reports before
    the first and after the last: they are its `cuts`. Where it begins among them there was no
    report: `reached` tells its step, and what is left of them is traced.
    """

    def __init__(self, directory: Path, first: int, last: int) -> None:
        if not 1 <= first <= last:
            raise FunnelError(
                f"profile = [{first}, {last}]: must be [first step, last step], with 1 ≤ first ≤ last"
            )
        self.directory, self.cuts, self._running = directory, (first - 1, last), False

    def __call__(self, progress: Progress) -> None:
        self.reached(progress.step)

    def reached(self, step: int) -> None:
        """Begins or ends the trace where it is time."""
        before, last = self.cuts
        if not self._running and before <= step < last:
            tf.profiler.experimental.start(str(self.directory))
            self._running = True
        elif step >= last:
            self.close()

    def close(self) -> None:
        """Writes what there is."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False


class EarlyStopping:
    """Ends the training after `patience` evaluations in a row in which the metric did not improve
    by more than `min_delta`.

    One that is not defined, as an AUC of labels that are all alike, is no improvement.
    """

    def __init__(self, metric: str, *, patience: int = 3, min_delta: float = 0.0) -> None:
        self.metric, self.patience, self.min_delta = Metric.parse(metric), patience, min_delta
        self.sign = 1.0 if self.metric.higher else -1.0
        self.best: float | None = None
        self.best_step: int | None = None
        self.missed = 0
        self._noted: int | None = None

    def __call__(self, progress: Progress) -> bool:
        if (
            progress.metrics is not None and progress.step != self._noted
        ):  # one that is made up may be in the log already
            self._note(progress.step, progress.metrics)
        return self.missed >= self.patience

    def _note(self, step: int, metrics: dict) -> None:
        value, self._noted = self.metric.of(metrics), step
        if value is not None and (
            self.best is None or self.sign * (value - self.best) > self.min_delta
        ):
            self.best, self.best_step, self.missed = value, step, 0
        else:
            self.missed += 1

    def resume(self, log: Path) -> None:
        """Takes note of the evaluations in a MetricsLog's file: an interrupted training counts on."""
        for line in _lines(log) if log.exists() else []:
            if "evaluation" in line:
                self._note(line["step"], line["evaluation"])
