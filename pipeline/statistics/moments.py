"""Mean, standard deviation and range of numbers that come in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Moments of `count` numbers: mean, m2 = Σ (x − mean)², smallest and largest; all 0 of none.

    Example:
        >>> a, b = Moments.of(np.array([1.0, 2.0])), Moments.of(np.array([3.0]))
        >>> (a + b).mean
        2.0
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """The moments of the values that are not NaN."""
        values = values[~np.isnan(values)].astype(np.float64)
        if not len(values):
            return cls()
        mean = values.mean()
        return cls(
            len(values),
            float(mean),
            float(((values - mean) ** 2).sum()),
            float(values.min()),
            float(values.max()),
        )

    def __add__(self, other: Moments) -> Moments:
        """Chan, Golub and LeVeque (1979): m2 = m2_a + m2_b + δ²·n_a·n_b / (n_a + n_b)."""
        if not self.count or not other.count:
            return self if self.count else other
        count, delta = self.count + other.count, other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * other.count / count,
            self.m2 + other.m2 + delta**2 * self.count * other.count / count,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def std(self) -> float:
        return float(np.sqrt(self.m2 / self.count)) if self.count else 0.0
