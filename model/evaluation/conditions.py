"""Metrics by name, as in "ctcvr auc", and conditions on them, as in "ctr auc >= 0.7"."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from features.errors import FunnelError

Metrics = dict[str, dict[str, float | None]]
LOWER_IS_BETTER = ("logloss", "mse", "mae")
HIGHER_IS_BETTER = ("auc", "precision", "recall", "accuracy")
COMPARISONS = {
    ">=": operator.ge,
    "≥": operator.ge,
    "<=": operator.le,
    "≤": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Metric:
    """One number of an evaluation: of a task or joint, by its name."""

    task: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Metric:
        words = text.split()
        if len(words) != 2:
            raise FunnelError(
                f"'{text}' names no metric: write the task and the metric, as in 'ctcvr auc'"
            )
        return cls(*words)

    @property
    def higher(self) -> bool:
        """Whether more of it is better. Raises FunnelError for one that has no better end, like
        calibration.
        """
        if self.name not in HIGHER_IS_BETTER + LOWER_IS_BETTER:
            known = ", ".join(HIGHER_IS_BETTER + LOWER_IS_BETTER)
            raise FunnelError(
                f"'{self}' has no better end: choose one of {known}; others can be conditions, as in 'ctr calibration <= 1.1'"
            )
        return self.name in HIGHER_IS_BETTER

    def of(self, metrics: Metrics) -> float | None:
        """Its value, None where it is not defined, as the AUC of labels that are all alike. Raises
        FunnelError when it is not measured.
        """
        if self.name not in metrics.get(self.task, {}):
            known = "; ".join(f"{task}: {', '.join(own)}" for task, own in metrics.items())
            raise FunnelError(f"'{self}' is not measured; what is: {known}")
        return metrics[self.task][self.name]

    def __str__(self) -> str:
        return f"{self.task} {self.name}"


@dataclass(frozen=True)
class Condition:
    """A bound on a metric."""

    metric: Metric
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        match = re.fullmatch(r"\s*(.+?)\s*(>=|<=|≥|≤|>|<)\s*([-+.\deE]+)\s*", text)
        try:
            return cls(Metric.parse(match[1]), match[2], float(match[3]))
        except (TypeError, ValueError):
            raise FunnelError(
                f"'{text}' is no condition: write one as in 'ctr auc >= 0.7'"
            ) from None

    def holds(self, metrics: Metrics) -> bool:
        """Whether it does; where the metric is not defined it does not."""
        value = self.metric.of(metrics)
        return value is not None and COMPARISONS[self.comparison](value, self.bound)
