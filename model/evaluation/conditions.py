"""Metrics of tasks by name, as in "ctcvr auc", and conditions, as in "ctr auc >= 0.7"."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from features.errors import FunnelError
from model.metrics import METRICS

Metrics = dict[str, dict[str, float | None]]
COMPARISONS = {
    ">=": operator.ge,
    "≥": operator.ge,
    "<=": operator.le,
    "≤": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class TaskMetric:
    """A metric of one task or joint.

    Example:
        >>> metric = TaskMetric.parse("ctcvr auc")
        >>> metric.higher
        True
        >>> metric.of({"ctcvr": {"auc": 0.7}})
        0.7
    """

    task: str
    name: str

    @classmethod
    def parse(cls, text: str) -> TaskMetric:
        words = text.split()
        if len(words) != 2:
            raise FunnelError(
                f"'{text}' does not name a metric: write the task and the metric, as in 'ctcvr auc'"
            )
        return cls(*words)

    @property
    def higher(self) -> bool:
        """Whether a higher value is better.

        Raises:
            FunnelError: METRICS gives it no direction, as calibration, or does not know it.
        """
        known = {name: m.better for name, m in METRICS.items() if m.better is not None}
        if self.name not in known:
            raise FunnelError(
                f"'{self}' has no better direction: choose one of {', '.join(known)}; "
                "others can be conditions, as in 'ctr calibration <= 1.1'"
            )
        return known[self.name] == "higher"

    def of(self, metrics: Metrics) -> float | None:
        """Its value in an evaluation; None where it is undefined.

        Raises:
            FunnelError: the evaluation does not measure it.
        """
        if self.name not in metrics.get(self.task, {}):
            known = "; ".join(f"{task}: {', '.join(own)}" for task, own in metrics.items())
            raise FunnelError(f"'{self}' is not measured; these are: {known}")
        return metrics[self.task][self.name]

    def __str__(self) -> str:
        return f"{self.task} {self.name}"


@dataclass(frozen=True)
class Condition:
    """A bound on a metric.

    Example:
        >>> Condition.parse("ctr auc >= 0.7").holds({"ctr": {"auc": 0.8}})
        True
    """

    metric: TaskMetric
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        match = re.fullmatch(r"\s*(.+?)\s*(>=|<=|≥|≤|>|<)\s*([-+.\deE]+)\s*", text)
        try:
            if match is not None:
                return cls(TaskMetric.parse(match[1]), match[2], float(match[3]))
        except ValueError:
            pass
        raise FunnelError(f"'{text}' is not a condition: write one as in 'ctr auc >= 0.7'")

    def holds(self, metrics: Metrics) -> bool:
        """Whether the metric keeps the bound; False where it is undefined."""
        value = self.metric.of(metrics)
        return value is not None and COMPARISONS[self.comparison](value, self.bound)
