"""Order statistics: quantiles, ranks, AUC, and correlations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """[n] float64 ranks 1, 2, … by size; equal values get the mean of their ranks.

    Example:
        >>> mid_ranks(np.array([3, 1, 3, 2])).tolist()
        [3.5, 1.0, 3.5, 2.0]
    """
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return ranks


def quantile_cuts(values: np.ndarray, bins: int) -> np.ndarray:
    """The values, rising, that cut `values` into bins of about equal frequency; fewer than bins − 1
    where values repeat.

    Example:
        >>> quantile_cuts(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist()
        [2.0]
    """
    if not len(values):
        return values
    return np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))


def auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The probability that a positive outranks a negative, ties counting half; None unless there
    are both.

    (Σ ranks⁺ − p(p + 1)/2) / (p·n) for p positives and n negatives (Mann and Whitney, 1947).

    Example:
        >>> auc(np.array([0.1, 0.2, 0.8]), np.array([False, True, True]))
        1.0
    """
    p = int(positive.sum())
    n = len(positive) - p
    if not p or not n:
        return None
    return float((mid_ranks(scores)[positive].sum() - p * (p + 1) / 2) / (p * n))


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²); None where one of them does not vary."""
    if not len(x):
        return None
    x, y = x - x.mean(), y - y.mean()
    below = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / below, -1, 1)) if below > 0 else None


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation of the ranks; None where one of them does not vary."""
    return pearson(mid_ranks(x), mid_ranks(y))


def correlations(labels: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The correlations of every two labels, over the rows where both are known (−1 is unknown)."""
    found = []
    for (a, left), (b, right) in itertools.combinations(labels.items(), 2):
        known = (left >= 0) & (right >= 0)
        x, y = left[known].astype(np.float64), right[known].astype(np.float64)
        found.append(
            {"labels": [a, b], "rows": len(x), "pearson": pearson(x, y), "spearman": spearman(x, y)}
        )
    return found
