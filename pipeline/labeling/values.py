"""Numbers of events and of impressions → the values of labels: divided, taken, cut and transformed."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from features.labels import Valued

Take = Literal["first", "last", "sum", "max"]
LARGEST = float(np.finfo(np.float32).max)  # a label is written as float32


def ratio(values: np.ndarray, of: np.ndarray | None) -> np.ndarray:
    """values / of, 0 where `of` is 0, NaN where either is missing; the values themselves without
    `of`.
    """
    if of is None:
        return values
    zero = of == 0
    return np.where(zero, np.where(np.isnan(values), np.nan, 0.0), values / np.where(zero, 1.0, of))


def shape(label: Valued, numbers: np.ndarray) -> np.ndarray:
    """A label's number as it is written: cut to `clip`, then transformed; [n] float32."""
    if label.clip:
        numbers = np.clip(numbers, *label.clip)
    if label.transform == "log1p":
        numbers = np.log1p(numbers)
    return np.minimum(numbers, LARGEST).astype(np.float32)


def value_label(label: Valued, numbers: np.ndarray) -> np.ndarray:
    """The label of [n] impressions from a number of their own, −1 where it is missing: int8 with
    `at_least`, else float32.
    """
    missing = np.isnan(numbers)
    if not label.is_number:
        return np.where(missing, -1, numbers >= label.at_least).astype(np.int8)
    return np.where(missing, np.float32(-1), shape(label, numbers))


def running(take: Take, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """What is taken of the numbers so far, inside each stretch of equal rows: [1, 1, 2], [a, b, c]
    → sum: [a, a + b, c].

    A stretch's result is to the bit the same whatever lies around it, which a difference of
    cumulative sums is not.
    """
    if take == "last":
        return numbers
    step = {"first": lambda so_far, _: so_far, "sum": np.add, "max": np.maximum}[take]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    nth = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    order, ends = np.argsort(nth, kind="stable"), np.cumsum(np.bincount(nth))
    result = numbers.copy()
    for start, end in pairwise(ends):
        now = order[start:end]
        result[now] = step(result[now - 1], result[now])
    return result
