"""Exports during a training: the latest, the final or the best model, each in its own directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.files import discard, write_text
from model.estimator.estimator import RankingEstimator
from model.evaluation.conditions import Condition, Metrics, TaskMetric


@dataclass(frozen=True)
class LatestExporter:
    """Exports after each evaluation to directory/<version>; the newest `keep` versions stay.

    Example:
        EvalSpec(input_fn, every_steps=1000, exporters=[LatestExporter(Path("latest"), keep=3)])
    """

    directory: Path
    keep: int = 5

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        return publish(estimator, self.directory, self.keep)


@dataclass(frozen=True)
class FinalExporter:
    """Exports once, at the end of the training, to directory/<version>."""

    directory: Path

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        return publish(estimator, self.directory, keep=None) if at_end else None


class BestExporter:
    """Exports whenever `metric` is better than at every evaluation before.

    directory/best.json remembers the best value, so that a resumed training does not publish a
    worse model.

    Args:
        directory: receives the versions.
        metric: the task and one of METRICS with a direction, as in "ctcvr auc".
        provided: conditions that must all hold, as in "ctr auc >= 0.7"; an evaluation at which one
            fails counts neither as better nor as best.
        keep: the newest versions that stay.

    Raises:
        FunnelError: the metric has no direction, or a condition cannot be read; at an evaluation,
            a metric is not measured.

    Example:
        BestExporter(Path("best"), metric="ctcvr auc", provided=["ctr calibration <= 1.1"])
    """

    def __init__(
        self, directory: Path, *, metric: str, provided: Sequence[str] = (), keep: int = 1
    ) -> None:
        self.directory, self.metric, self.keep = directory, TaskMetric.parse(metric), keep
        self.conditions = [Condition.parse(text) for text in provided]
        self.higher = self.metric.higher

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        value = self.metric.of(metrics)
        # Every condition is computed, so that an unknown metric is an error at once.
        held = [condition.holds(metrics) for condition in self.conditions]
        if value is None or not all(held) or not self._is_better(value):
            return None
        path = publish(estimator, self.directory, self.keep)
        best = {"metric": str(self.metric), "value": value, "step": step, "version": path.name}
        write_text(self.directory / "best.json", json.dumps(best) + "\n")
        return path

    def _is_better(self, value: float) -> bool:
        path = self.directory / "best.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if known.get("metric") != str(self.metric):
            return True
        return value > known["value"] if self.higher else value < known["value"]


def publish(estimator: RankingEstimator, directory: Path, keep: int | None) -> Path:
    """Exports a new version, then removes all but the newest `keep`; returns its directory."""
    path = estimator.export_saved_model(directory).path
    versions = sorted(
        (p for p in directory.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    )
    for old in versions[:-keep] if keep else []:
        discard(old)
    return path
