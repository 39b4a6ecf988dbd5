"""A metric: its function, the labels it is defined for, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Sample:
    """The rows of one sample space whose label is known.

    Args:
        prediction: [n], probabilities or numbers.
        label: [n], 0 and 1 where binary.
        threshold: a row is predicted positive where its probability reaches it.
    """

    prediction: np.ndarray
    label: np.ndarray
    threshold: float = 0.5


@dataclass(frozen=True)
class Metric:
    """An entry of METRICS.

    Args:
        compute: the value of a sample, or None where it is undefined.
        of: the labels it is defined for: "binary", "number" or "both".
        better: "higher" or "lower"; None where neither is, as for calibration. Only a metric with
            a direction can stop a training or choose the best export.
        title: the heading of its column in the report.

    Example:
        >>> brier = lambda s: float(((s.prediction - s.label) ** 2).mean())
        >>> metric = Metric(brier, of="binary", better="lower", title="Brier score")
        >>> metric.compute(Sample(np.array([0.5, 1.0]), np.array([1, 1])))
        0.125
    """

    compute: Callable[[Sample], float | None]
    of: Literal["binary", "number", "both"]
    better: Literal["higher", "lower"] | None
    title: str


def ratio(numerator: float, denominator: float) -> float | None:
    """The quotient; None where the denominator is 0."""
    return numerator / denominator if denominator else None
