"""What is published during a training: the latest, the final or the best model, each in a directory
of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.evaluation.conditions import Condition, Metric, Metrics

if TYPE_CHECKING:
    from model.estimator.estimator import RankingEstimator


@dataclass(frozen=True)
class LatestExporter:
    """Exports after each evaluation to directory/<version>; the newest `keep` stay."""

    directory: Path
    keep: int = 5

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        return publish(estimator, self.directory, self.keep)


@dataclass(frozen=True)
class FinalExporter:
    """Exports at the end of the training."""

    directory: Path

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        return publish(estimator, self.directory, keep=None) if at_end else None


class BestExporter:
    """Exports when `metric` is better than at any evaluation before, among those at which all of
    `provided` hold.

    directory/best.json remembers the best, so that a training that was interrupted does not publish
    a worse one.
    """

    def __init__(
        self, directory: Path, *, metric: str, provided: Sequence[str] = (), keep: int = 1
    ) -> None:
        self.directory, self.metric, self.keep = directory, Metric.parse(metric), keep
        self.conditions = [Condition.parse(text) for text in provided]
        self.higher = self.metric.higher

    def __call__(
        self, estimator: RankingEstimator, metrics: Metrics, step: int, at_end: bool
    ) -> Path | None:
        value, best = self.metric.of(metrics), self._best()
        held = [
            condition.holds(metrics) for condition in self.conditions
        ]  # all of them: an unknown metric is an error at once
        if (
            value is None
            or not all(held)
            or (best is not None and (value <= best if self.higher else value >= best))
        ):
            return None
        path = publish(estimator, self.directory, self.keep)
        unfinished = self.directory / ".best.json"
        unfinished.write_text(
            json.dumps(
                {"metric": str(self.metric), "value": value, "step": step, "version": path.name}
            )
            + "\n"
        )
        os.replace(unfinished, self.directory / "best.json")
        return path

    def _best(self) -> float | None:
        path = self.directory / "best.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        return known["value"] if known.get("metric") == str(self.metric) else None


def publish(estimator: RankingEstimator, directory: Path, keep: int | None) -> Path:
    """Exports a new version, and removes all but the newest `keep` then."""
    path = estimator.export_saved_model(directory).path
    versions = sorted(
        (p for p in directory.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    )
    for old in versions[:-keep] if keep else []:
        shutil.rmtree(old)
    return path
