"""Events → labels: windows, maturity, and what became of every event. docs/labels.md has the rules
in words and as a picture.

Times are int64 µs. A binary label is 1 (its event happened inside the window), 0 (the window closed
without it, or what must come before did not happen) or −1 (unknown: the window was still open when
the logs ended). A number is −1 where it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.labels import EventLabel
from features.settings import microseconds
from pipeline.config import Counting, PreprocessConfig
from pipeline.labeling.join import Events, place
from pipeline.labeling.values import ratio, running, shape

DISPOSITIONS = ("matched", "duplicate", "before", "late", "missing", "unprecedented", "orphan")
MATCHED, DUPLICATE, BEFORE, LATE, MISSING, UNPRECEDENTED, ORPHAN = range(len(DISPOSITIONS))


@dataclass(frozen=True)
class Moments:
    """Events that a label counts, as (row, time) sorted by both."""

    rows: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """A label of [n] impressions, and what a label after it needs to know.

    value: int8, or float32 for numbers. happened: whether a window after it is open; time: since
    when, where it happened. closed: whether no more events of it can come. valid: its events from
    `time` on. counts: all its events by disposition.
    """

    value: np.ndarray
    happened: np.ndarray
    time: np.ndarray
    closed: np.ndarray
    valid: Moments
    counts: dict[str, int]

    @property
    def last(self) -> np.ndarray:
        """The time of the last valid event, where it happened."""
        last = self.time.copy()
        last[self.valid.rows] = self.valid.times  # they are sorted, so that the last one stays
        return last


def label_events(
    config: PreprocessConfig, times: np.ndarray, events: dict[str, Events], logs_end: int
) -> dict[str, Outcome]:
    """Every event label of the impressions at `times` [n], in the order of their declaration."""
    outcomes: dict[str, Outcome] = {}
    for name, label in config.event_labels.items():
        before = outcomes[label.after] if label.after else None
        outcomes[name] = label_one(
            label,
            times,
            events[label.event],
            logs_end,
            before=before,
            counting=config.counting(label),
        )
    return outcomes


def label_one(
    label: EventLabel,
    times: np.ndarray,
    events: Events,
    logs_end: int,
    *,
    before: Outcome | None = None,
    counting: Counting = "first",
) -> Outcome:
    """One label of the impressions at `times` [n]. Its window starts at the impression, or at an
    event of `before`.

    Each event has one disposition: orphan (its impression is not in the logs), unprecedented (the
    label `after` did not happen), before or late (outside the window), missing (it lacks the
    label's number), duplicate (one of the same time and number again, or a later one, where the
    first alone counts), matched.
    """
    within = microseconds(label.window)
    fates = _judge(times, events, within, before, counting)
    numbers = _numbers(label, events)
    fates[(fates == MATCHED) & np.isnan(numbers)] = MISSING
    inside = np.flatnonzero(fates == MATCHED)
    inside = inside[np.lexsort((numbers[inside], events.times[inside], events.rows[inside]))]
    again = np.all(
        [
            np.diff(values[inside], prepend=np.nan) == 0
            for values in (numbers, events.times, events.rows)
        ],
        axis=0,
    )
    fates[inside[again]] = DUPLICATE
    inside = inside[~again]
    counted = Moments(events.rows[inside], events.times[inside])
    if label.take == "first":
        fates[inside[np.diff(counted.rows, prepend=-1) == 0]] = DUPLICATE
    closed = _closed(times, within, logs_end, before, counting)
    open_ = ~closed
    open_[events.rows[fates == MISSING]] = True  # what their numbers would have been is unknown
    value, time, happened = _value(label, counted, numbers[inside], closed, open_)
    since = happened[counted.rows] & (counted.times >= time[counted.rows])
    valid = Moments(counted.rows[since], counted.times[since])
    counts = np.bincount(fates, minlength=len(DISPOSITIONS)).tolist()
    return Outcome(
        value, happened, time, closed, valid, dict(zip(DISPOSITIONS, counts, strict=True))
    )


def _judge(
    times: np.ndarray, events: Events, within: int, before: Outcome | None, counting: Counting
) -> np.ndarray:
    """The disposition of each of [m] events by its time alone, MATCHED for all inside the window:
    [m] int8.
    """
    fates = np.full(len(events.rows), ORPHAN, np.int8)
    found = np.flatnonzero(events.rows >= 0)
    rows, at = events.rows[found], events.times[found]
    touched = None if events.touched is None else events.touched[found]
    began, start = np.ones(len(found), bool), times[rows]
    if before is not None:
        began, start = before.happened[rows], before.time[rows]
    if before is not None and counting != "first":
        asked = touched if counting == "touched" else at
        nearest = place(before.valid.rows, before.valid.times, rows, asked, "right") - 1
        own = (nearest >= 0) & began
        own[own] = before.valid.rows[nearest[own]] == rows[own]
        start[own] = before.valid.times[nearest[own]]
        if counting == "touched":
            began = own & (start == touched)
    early = at < (start if touched is None else np.maximum(start, touched))
    fates[found] = np.where(
        ~began, UNPRECEDENTED, np.where(early, BEFORE, np.where(at - start > within, LATE, MATCHED))
    )
    return fates


def _numbers(label: EventLabel, events: Events) -> np.ndarray:
    """The number that each event adds to the label; 1 where events only happen."""
    if label.value is None:
        return np.ones(len(events.rows))
    return ratio(events.values[label.value], events.values[label.of] if label.of else None)


def _closed(
    times: np.ndarray, within: int, logs_end: int, before: Outcome | None, counting: Counting
) -> np.ndarray:
    """Whether the window had closed before the logs ended, counted from the latest event that it
    can count from: [n] bool.
    """
    if before is None:
        return times + within <= logs_end
    latest = before.time if counting == "first" else before.last
    over = latest + within <= logs_end
    if counting != "first":
        over &= before.closed
    return np.where(before.happened, over, before.value >= 0)


def _value(
    label: EventLabel, counted: Moments, numbers: np.ndarray, closed: np.ndarray, open_: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(value, time, happened) of [n] impressions from the counted events and their numbers, both
    sorted by row, time, number.

    A row without events is unknown where it is `open_`; one with events where it is not `closed`
    and more of them can change it.
    """
    rows, at_once = counted.rows, label.take == "first"
    so_far = running(label.take, rows, numbers)
    ends = np.diff(rows, append=-1) != 0
    settled = closed[rows] | at_once
    value = np.where(open_, -1, 0).astype(np.float32 if label.is_number else np.int8)
    value[rows[ends]] = np.where(
        settled[ends], shape(label, so_far[ends]) if label.is_number else 0, -1
    )
    reached = np.ones(len(rows), bool) if label.at_least is None else so_far >= label.at_least
    if label.at_least is not None and label.take == "last":
        reached &= ends & settled
    hits = np.flatnonzero(reached)
    hits = hits[np.diff(rows[hits], prepend=-1) != 0]
    if not label.is_number:
        value[rows[hits]] = 1
    time, happened = np.zeros(len(closed), np.int64), np.zeros(len(closed), bool)
    time[rows[hits]], happened[rows[hits]] = counted.times[hits], True
    return value, time, happened
