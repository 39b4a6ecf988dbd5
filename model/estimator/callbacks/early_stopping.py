"""Early stopping by a metric of the evaluations."""

from __future__ import annotations

from pathlib import Path

from features.manifest import read_json_lines
from model.evaluation.conditions import Metrics, TaskMetric
from model.training.progress import Progress


class EarlyStopping:
    """Callback: ends the training after `patience` evaluations in a row without an improvement.

    Args:
        metric: the task and one of METRICS with a direction, as in "ctcvr auc".
        patience: evaluations in a row that may miss.
        min_delta: an improvement is larger than this. An undefined value is not an improvement.

    Raises:
        FunnelError: the metric has no direction; at an evaluation, it is not measured.

    Example:
        EvalSpec(input_fn, every_steps=1000, callbacks=[EarlyStopping("ctcvr auc", patience=3)])
    """

    def __init__(self, metric: str, *, patience: int = 3, min_delta: float = 0.0) -> None:
        self.metric, self.patience = TaskMetric.parse(metric), patience
        self.min_delta = min_delta
        self.sign = 1.0 if self.metric.higher else -1.0
        self.best: float | None = None
        self.missed = 0
        self._noted: int | None = None

    def __call__(self, progress: Progress) -> bool:
        # An evaluation that is repeated after a crash may be in the log already.
        if progress.metrics is not None and progress.step != self._noted:
            self._note(progress.step, progress.metrics)
        return self.missed >= self.patience

    def _note(self, step: int, metrics: Metrics) -> None:
        value, self._noted = self.metric.of(metrics), step
        if value is not None and (
            self.best is None or self.sign * (value - self.best) > self.min_delta
        ):
            self.best, self.missed = value, 0
        else:
            self.missed += 1

    def resume(self, log: Path) -> None:
        """Counts the evaluations in a MetricsLog's file, so that a resumed training continues."""
        for line in read_json_lines(log):
            if "evaluation" in line:
                self._note(line["step"], line["evaluation"])
