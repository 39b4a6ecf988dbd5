"""Base rates of the training split's labels, at which the outputs of tasks start."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from features.fitted import Outcome
from features.spec import Spec
from model.objectives.sample_spaces import entire_space, own_space

NEVER = 1e-6  # keeps a probability from 0 and 1, in the logit


class BaseRates:
    """The constant predictions that minimize the objectives over the training split.

    For a cross-entropy whose positives have the weight v this is v·P / (v·P + N), with P and N the
    sums of sample weights of either label; for a squared error it is the mean. Where P or N is 0,
    half a row is added to both. Without outcomes every logit is 0.

    Args:
        spec: labels and tasks.
        outcomes: the counts of labels over the training split.
    """

    def __init__(self, spec: Spec, outcomes: Sequence[Outcome]) -> None:
        self.spec, self.outcomes = spec, list(outcomes)
        self._rows = np.array([o.rows for o in self.outcomes], int)
        self._weights = np.array([o.weight for o in self.outcomes])
        self._states = {
            label: np.array([o.states[label] for o in self.outcomes], int) for label in spec.labels
        }

    def own(self, task: str) -> float:
        """The rate of a task on its own sample space."""
        return self._rate(task, *own_space(self.spec, task, self._states))

    def joint(self, task: str) -> float:
        """The rate of a task's joint over all rows; without a joint, its own rate."""
        return self._rate(task, *entire_space(self.spec, task, self._states))

    def mean(self, task: str) -> float:
        """The mean of a number on its own sample space; 0 where that is empty."""
        _, mask = own_space(self.spec, task, self._states)
        totals = np.array([o.totals[self.spec.tasks[task].label] for o in self.outcomes])
        rows = self._weights[mask].sum()
        return float(totals[mask].sum() / rows) if rows else 0.0

    def logit(self, task: str) -> float:
        """The initial output of a task trained on its own sample space: its log-odds, or mean."""
        if not self.outcomes:
            return 0.0
        is_number = self.spec.labels[self.spec.tasks[task].label].is_number
        return self.mean(task) if is_number else log_odds(self.own(task))

    def constants(self) -> dict[str, float]:
        """The best constant score of each task and joint on its sample space: the rate, with
        `positive_weight` undone as in scores, or the mean of a number. {} without outcomes.
        """
        found: dict[str, float] = {}
        for task, declared in self.spec.tasks.items() if self.outcomes else ():
            if self.spec.labels[declared.label].is_number:
                found[task] = self.mean(task)
                continue
            found[task] = _unweighted(self.own(task), declared.positive_weight)
            if declared.joint:
                found[declared.joint] = _unweighted(self.joint(task), declared.positive_weight)
        return found

    def positives(self, task: str) -> int:
        """The rows of label 1 in a task's own sample space, each counted once."""
        label, mask = own_space(self.spec, task, self._states)
        return int(self._rows[mask & (label > 0)].sum())

    def rarest(self) -> int:
        """Rows of the least frequent class of any task: of the rows of its own sample space, the
        smaller of positives and negatives; of a number all of them.
        """
        counts = []
        for task, declared in self.spec.tasks.items():
            label, mask = own_space(self.spec, task, self._states)
            if self.spec.labels[declared.label].is_number:
                counts.append(self._rows[mask].sum())
            else:
                counts += [self._rows[mask & (label == side)].sum() for side in (0, 1)]
        return int(min(counts, default=0))

    def warnings(self) -> list[str]:
        """A line for each task that has only one class in the training split."""
        found = []
        for task, declared in self.spec.tasks.items():
            label, mask = own_space(self.spec, task, self._states)
            if not self.outcomes or self.spec.labels[declared.label].is_number:
                continue
            counts = {side: int(self._rows[mask & (label == side)].sum()) for side in (0, 1)}
            lacking = [
                name for side, name in ((1, "positive"), (0, "negative")) if not counts[side]
            ]
            if lacking:
                found.append(
                    f"task '{task}' has no {' and no '.join(lacking)} row among the "
                    f"{sum(counts.values())} training rows of its sample space: it begins at p = "
                    f"{self.own(task):.2g} and cannot learn; check labels.{declared.label} and "
                    "its window, or train on more days"
                )
        return found

    def _rate(self, task: str, label: np.ndarray, mask: np.ndarray) -> float:
        positive = self._weights[mask & (label == 1)].sum() * self.spec.tasks[task].positive_weight
        negative = self._weights[mask & (label == 0)].sum()
        more = 0.0 if positive and negative else 0.5
        return float((positive + more) / (positive + negative + 2 * more))


def _unweighted(p: float, positive_weight: float) -> float:
    """The rate whose positives count once, from that whose positives have a weight."""
    return p / (p + positive_weight * (1 - p))


def log_odds(p: float) -> float:
    """ln(p / (1 − p)).

    A quotient p above 1 comes from labels that do not form a chain. It gives 0, since near a
    probability of 1 nothing would be learned.
    """
    p = min(max(p, NEVER), 1 - NEVER) if p <= 1 else 0.5
    return math.log(p) - math.log1p(-p)
