"""Values of labels: from texts and numbers of the impression itself, or numbers of its events."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.labels import ColumnLabel, Valued

Take = Literal["first", "last", "sum", "max"]
LARGEST = float(np.finfo(np.float32).max)  # a label is written as float32


def column_label(label: ColumnLabel, texts: pa.Array) -> np.ndarray:
    """[n] int8: 1 where the text equals one of the label's, 0 where it does not, −1 where it is
    missing.
    """
    accepted = [label.equals] if isinstance(label.equals, str) else label.equals
    equal = pc.is_in(texts, value_set=pa.array(accepted, texts.type)).cast(pa.int8())
    values: np.ndarray = pc.if_else(pc.is_null(texts), pa.scalar(-1, pa.int8()), equal).to_numpy(
        zero_copy_only=False
    )
    return values


def value_label(label: Valued, numbers: np.ndarray) -> np.ndarray:
    """The label of [n] impressions from a number of their own, −1 where it is missing: int8 with
    `at_least`, else float32.
    """
    missing = np.isnan(numbers)
    if label.at_least is not None:
        return np.where(missing, -1, numbers >= label.at_least).astype(np.int8)
    return np.where(missing, np.float32(-1), shape(label, numbers))


def ratio(values: np.ndarray, of: np.ndarray | None) -> np.ndarray:
    """values / of; 0 where `of` is 0, NaN where either is missing. Without `of` the values.

    Example:
        >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0])).tolist()
        [0.25, 0.0]
    """
    if of is None:
        return values
    zero = of == 0
    return np.where(zero, np.where(np.isnan(values), np.nan, 0.0), values / np.where(zero, 1.0, of))


def shape(label: Valued, numbers: np.ndarray) -> np.ndarray:
    """[n] float32 numbers as the label writes them: clipped, then transformed."""
    if label.clip:
        numbers = np.clip(numbers, *label.clip)
    if label.transform == "log1p":
        numbers = np.log1p(numbers)
    written: np.ndarray = np.minimum(numbers, LARGEST).astype(np.float32)
    return written


def running(take: Take, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """What `take` has chosen so far in each run of equal rows.

    The result of a run is the same to the bit whatever precedes it; a difference of cumulative sums
    would not be.

    Example:
        >>> running("sum", np.array([1, 1, 2]), np.array([1.0, 2.0, 4.0])).tolist()
        [1.0, 3.0, 4.0]
    """
    if take == "last":
        return numbers
    steps: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "first": lambda so_far, _: so_far,
        "sum": np.add,
        "max": np.maximum,
    }
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    nth = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    order, ends = np.argsort(nth, kind="stable"), np.cumsum(np.bincount(nth))
    result = numbers.copy()
    for start, end in pairwise(ends):
        now = order[start:end]
        result[now] = steps[take](result[now - 1], result[now])
    return result
