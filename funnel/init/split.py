"""The rows to evaluate on: the last days where the logs have times, else a share of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from funnel.init.keys import Stream
from funnel.init.labels import Label, readable

DAY = 86_400e6  # µs
SHARE = 0.05  # of the days
FEWEST_DAYS = 3  # of mature rows, for a split by time
FRACTION = 0.1


def span_of(rows: Stream, streams: list[Stream]) -> tuple[float, float, float]:
    """(first time of a row, last time of a row, end of the logs) in µs; zeros without times."""
    if rows.times is None:
        return 0.0, 0.0, 0.0
    ends = [float(np.nanmax(s.times)) for s in [rows, *streams] if s.times is not None]
    return float(np.nanmin(rows.times)), float(np.nanmax(rows.times)), max(ends)


def propose_split(
    span: tuple[float, float, float], labels: list[Label], group: str | None
) -> tuple[dict[str, Any], str]:
    """(split.eval, the evidence).

    Args:
        span: as `span_of` gives it.
        labels: whose windows say until when rows are mature.
        group: the column of users.
    """
    first, last, end = span
    window = max((label.window for label in labels), default=0.0)
    usable = min(last, end - window) - first
    if usable >= FEWEST_DAYS * DAY:
        days = max(round(SHARE * usable / DAY), 1)
        of_rows = "of rows whose windows have closed" if window else "of rows"
        return {"last": f"{days}d"}, f"{readable(usable)} {of_rows}"
    fraction: dict[str, Any] = {"fraction": FRACTION}
    if group:
        fraction["by"] = group
    why = (
        "the rows have no times"
        if not last
        else (f"only {readable(max(usable, 0.0))} of rows whose windows have closed")
    )
    return fraction, f"{why}, so a share of {group or 'the rows'} by hash"
