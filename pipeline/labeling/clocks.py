"""The latest plausible time of each stream. docs/labels.md ("When a label is known") explains the
rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.config import PreprocessConfig
from pipeline.spans import Spans

FAR = 30 * 86_400_000_000  # µs between most impressions and those that are implausible
FEW = 0.02  # of the impressions


@dataclass(frozen=True)
class Implausible:
    """Times of a stream that do not count for the end of the logs.

    Attributes:
        count: the number of rows.
        latest: their latest time, in µs.
    """

    count: int
    latest: int


def judge_clocks(
    config: PreprocessConfig, spans: Mapping[str, Spans | None]
) -> tuple[dict[str, int | None], dict[str, Implausible]]:
    """Separates the plausible times of the streams from those of wrong clocks.

    Args:
        config: the configuration.
        spans: the times of each stream, None where no row has one.

    Returns:
        The latest plausible time of each stream, in µs or None, and the implausible times of the
        streams that have some.
    """
    tables = {
        name: np.zeros((0, 3), np.int64) if own is None else own.table
        for name, own in spans.items()
    }
    impressions = tables.get(config.rows, np.zeros((0, 3), np.int64))
    plausible = {config.rows: plausible_impressions(impressions)}
    if plausible[config.rows]:
        gap = next(own.gap for own in spans.values() if own is not None)
        events = {name: table for name, table in tables.items() if name != config.rows}
        last = int(impressions[plausible[config.rows] - 1, 1])
        plausible |= _plausible_events(events, last, gap)
    kept = {name: table[: plausible.get(name)] for name, table in tables.items()}
    return (
        {name: int(own[-1, 1]) if len(own) else None for name, own in kept.items()},
        {
            name: Implausible(int(table[len(kept[name]) :, 2].sum()), int(table[-1, 1]))
            for name, table in tables.items()
            if len(kept[name]) < len(table)
        },
    )


def plausible_impressions(table: np.ndarray) -> int:
    """How many of the spans [n, 3] of impressions are plausible: all, but for the last ones where
    they are FAR from the others and FEW.
    """
    starts, ends, counts = table.T
    later = np.cumsum(counts[::-1])[::-1]
    apart = np.flatnonzero((starts[1:] - ends[:-1] > FAR) & (later[1:] < FEW * counts.sum()))
    return int(apart[0]) + 1 if len(apart) else len(table)


def _plausible_events(tables: Mapping[str, np.ndarray], last: int, gap: int) -> dict[str, int]:
    """How many spans of each stream are plausible: those that begin at most `gap` after the last
    impression or after an earlier span that is plausible.
    """
    plausible, end = dict.fromkeys(tables, 0), last
    for start, until, name in sorted(
        (int(start), int(until), name)
        for name, table in tables.items()
        for start, until, _ in table
    ):
        if start - end > gap:
            break
        end = max(end, until)
        plausible[name] += 1
    return plausible
