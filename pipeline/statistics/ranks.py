"""Statistics of order: ranks, AUC, Spearman's correlation; and Pearson's, of which it is made."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """1, 2, … by size; equal values get the mean of their ranks: [n] → [n] float64."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive outranks a negative, ties half: (Σ ranks⁺ − p(p + 1)/2) / (p·n)
    (Mann and Whitney, 1947).

    None without both classes.
    """
    p = int(positive.sum())
    n = len(positive) - p
    return (
        float((mid_ranks(scores)[positive].sum() - p * (p + 1) / 2) / (p * n)) if p and n else None
    )


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²); None where one of them does not vary."""
    if not len(x):
        return None
    x, y = x - x.mean(), y - y.mean()
    below = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / below, -1, 1)) if below > 0 else None


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation of the ranks."""
    return pearson(mid_ranks(x), mid_ranks(y))


def correlations(labels: Mapping[str, np.ndarray]) -> list[dict]:
    """Of every two labels, over the rows where both are known (−1 is unknown)."""
    found = []
    for (a, left), (b, right) in itertools.combinations(labels.items(), 2):
        known = (left >= 0) & (right >= 0)
        x, y = left[known].astype(np.float64), right[known].astype(np.float64)
        found.append(
            {"labels": [a, b], "rows": len(x), "pearson": pearson(x, y), "spearman": spearman(x, y)}
        )
    return found
