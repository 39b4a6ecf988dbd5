"""Event streams → labels: which event follows which, and how long after."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.declarations import input_name
from features.settings import format_duration
from funnel.init.keys import Stream

COVERED = 0.99  # the share of observed delays that a window holds
WINDOWS = (  # seconds
    60, 120, 300, 600, 900, 1800,
    3600, 7200, 10_800, 21_600, 43_200,
    86_400, 172_800, 259_200, 604_800, 1_209_600, 2_592_000, 5_184_000, 7_776_000,
)  # fmt: skip
LONGEST = 0.25  # a window's largest share of the logs' span: rows must mature
FOLLOWS = 0.9  # the share of events after another one, from which they form a chain
FOLLOWS_SAMPLE = 0.3  # … where the other one's log is a sample
FEW = 20  # delays, below which a window is a guess
NAMES = {  # stream → label, task
    "clicks": ("click", "ctr"),
    "click": ("click", "ctr"),
    "conversions": ("convert", "cvr"),
    "conversion": ("convert", "cvr"),
}


@dataclass
class Label:
    """A label, and the task on it.

    Attributes:
        declaration: the label as the file declares it.
        values: [n] of the sampled rows: 1, 0, or −1 where unknown; a number for a numeric label.
        window: longest time from the row until it is known, in µs.
        columns: the columns of the rows that it reads.
    """

    name: str
    task: str
    declaration: dict[str, Any]
    why: str
    values: np.ndarray = field(repr=False)
    given: str | None = None
    window: float = 0.0
    is_number: bool = False
    columns: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        known = self.values[self.values >= 0]
        return float(known.mean()) if len(known) else 0.0


@dataclass
class _Event:
    """The first event of each impression."""

    stream: Stream
    first: pa.Table  # id, time

    def __len__(self) -> int:
        return len(self.first)


def event_labels(rows: Stream, streams: list[Stream], span: float) -> list[Label]:
    """The label of each event stream, those that others follow first.

    Args:
        rows: the impressions.
        streams: the event streams, joined.
        span: from the first impression to the end of the logs, in µs.
    """
    shown = _first(rows.ids(), rows.times)
    events = sorted((_Event(s, _first_events(s, streams)) for s in streams), key=len, reverse=True)
    events.sort(key=lambda e: e.stream.via is not None)  # an event after the one that it names
    found: dict[str, Label] = {}
    done: list[_Event] = []
    for event in events:
        parent = _parent(event, done)
        before = parent.first if parent else shown
        label = _label(rows, event, found[parent.stream.name] if parent else None, before, span)
        found[event.stream.name] = label
        done.append(event)
    return list(found.values())


def _label(
    rows: Stream, event: _Event, parent: Label | None, before: pa.Table, span: float
) -> Label:
    stream = event.stream
    name, task = NAMES.get(stream.name, (_singular(stream.name),) * 2)
    delays = _delays(before, event.first)
    after = parent.name if parent else "the impression"
    seconds, why = _window(delays, span, after)
    declared: dict[str, Any] = {
        "event": stream.name,
        "within": format_duration(timedelta(seconds=seconds)),
    }
    if parent:
        declared["after"] = parent.name
    happened = pc.is_in(rows.ids(), event.first["id"].combine_chunks()).to_numpy(
        zero_copy_only=False
    )
    values = happened.astype(np.int8)
    if parent:
        values[parent.values != 1] = -1
    window = seconds * 1e6 + (parent.window if parent else 0.0)
    label = Label(name, task, declared, why, values, parent.name if parent else None, window)
    numbers = [
        p.name
        for p in stream.profiles.values()
        if p.type == "number" and p.name != stream.time and not p.is_list
    ]
    if numbers:
        label.notes.append(
            f"{stream.name}.{numbers[0]} is a number: value = {_quoted(numbers[0])} in a label "
            "would predict it"
        )
    return label


def _window(delays: np.ndarray, span: float, after: str) -> tuple[int, str]:
    """(seconds, the evidence): the 99th percentile of the delays, rounded up."""
    most = max((w for w in WINDOWS if w * 1e6 <= LONGEST * span), default=WINDOWS[0])
    if not len(delays):
        return most, f"a guess: no event follows {after} in the sample"
    percentile = float(np.quantile(delays, COVERED, method="higher"))
    rounded = next((w for w in WINDOWS if w * 1e6 >= percentile), WINDOWS[-1])
    shown = f"99 % of {len(delays):,} came within {readable(percentile)} of {after}"
    if len(delays) < FEW:
        shown += ": few to tell"
    if rounded <= most:
        return rounded, shown
    share = float((delays <= most * 1e6).mean())
    return most, f"{shown}; cut to a quarter of the logs' span, which holds {100 * share:.1f} %"


def readable(duration: float) -> str:
    """A duration in µs, as people read it.

    Example:
        >>> readable(95e6), readable(31.8 * 3600e6)
        ('1.6 minutes', '31.8 hours')
    """
    for unit, size in (("days", 2 * 86_400e6), ("hours", 3600e6), ("minutes", 60e6)):
        if duration >= size:
            per_unit = 86_400e6 if unit == "days" else size
            return f"{duration / per_unit:.1f} {unit}"
    return f"{duration / 1e6:.1f} seconds"


def _parent(event: _Event, done: list[_Event]) -> _Event | None:
    """The event that this one follows: it holds nearly all of its ids, and the fewest others."""
    via = event.stream.via
    if via is not None:
        return next(other for other in done if other.stream.name == via)
    holders = []
    for other in done:
        found = pc.is_in(event.first["id"], other.first["id"].combine_chunks())
        enough = FOLLOWS if other.stream.sample.whole else FOLLOWS_SAMPLE
        if (
            len(event)
            and len(event) < len(other)
            and pc.mean(found.cast(pa.int8())).as_py() >= enough
        ):
            holders.append(other)
    return min(holders, key=len, default=None)


def _first_events(stream: Stream, streams: list[Stream]) -> pa.Table:
    """The time of the first event of each impression."""
    ids = stream.ids()
    if stream.via is not None:
        other = next(s for s in streams if s.name == stream.via)
        ids = other.ids().take(pc.index_in(ids, other.ids(other.key)))
    return _first(ids, stream.times)


def _first(ids: pa.Array, times: np.ndarray | None) -> pa.Table:
    """The least time of each id."""
    table = pa.table({"id": ids, "time": pa.array(times, pa.float64(), from_pandas=True)})
    grouped = table.filter(table["id"].is_valid()).group_by("id").aggregate([("time", "min")])
    return grouped.rename_columns({"time_min": "time"})


def _delays(before: pa.Table, after: pa.Table) -> np.ndarray:
    """Times from the first to the second event of each id that has both, in µs, without those
    below 0.
    """
    positions = pc.index_in(after["id"], before["id"].combine_chunks())
    matched = positions.is_valid()
    earlier = before["time"].take(positions.filter(matched)).to_numpy()
    delays = after["time"].filter(matched).to_numpy() - earlier
    kept: np.ndarray = delays[delays >= 0]
    return kept


def _singular(stream: str) -> str:
    return input_name(stream.removesuffix("s") if len(stream) > 3 else stream)


def _quoted(name: str) -> str:
    return f'"{name}"'
