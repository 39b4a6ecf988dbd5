"""Times as spans: stretches of time without a long gap, each with its number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.config import PreprocessConfig
from pipeline.typed_json import Array

HOUR = 3_600_000_000  # µs


@dataclass(frozen=True)
class Spans:
    """The times of a stream. Two neighboring times share a span if at most `gap` lies between them,
    so the spans of all rows follow from those of any parts.

    Attributes:
        gap: in µs.
        table: [spans, 3] first time in µs, last time in µs and number of rows; rising.
    """

    gap: int
    table: Array


def longest_gap(config: PreprocessConfig) -> int:
    """The gap, in µs, after which times are apart: the longest window, at least an hour."""
    return max(config.longest_window, HOUR)


def spans_of(times: np.ndarray, gap: int) -> Spans:
    """The spans of [n] times, n > 0.

    Example:
        >>> spans_of(np.array([9, 1, 2]), 3).table.tolist()
        [[1, 2, 2], [9, 9, 1]]
    """
    return _joined(np.stack([times, times, np.ones_like(times)], axis=1), gap)


def fold_spans(parts: Iterable[Spans | None]) -> Spans | None:
    """The spans of all rows from those of their parts, in any order; None where no row has a time.

    Example:
        >>> fold_spans([spans_of(np.array([1, 5]), 3), spans_of(np.array([3]), 3)]).table.tolist()
        [[1, 5, 3]]
    """
    known = [part for part in parts if part is not None]
    return _joined(np.concatenate([k.table for k in known]), known[0].gap) if known else None


def _joined(table: np.ndarray, gap: int) -> Spans:
    table = table[np.argsort(table[:, 0])]
    starts, ends, counts = table.T
    ends = np.maximum.accumulate(ends)
    first = np.flatnonzero(np.append(True, starts[1:] - ends[:-1] > gap))
    last = np.append(first[1:], len(table)) - 1
    return Spans(gap, np.stack([starts[first], ends[last], np.add.reduceat(counts, first)], axis=1))
