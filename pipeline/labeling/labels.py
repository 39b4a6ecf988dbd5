"""Events → labels, and the disposition of every event. docs/labels.md explains the rules with a
picture.

Times are int64 µs. A binary label is 1 (an event happened inside the window), 0 (the window closed
without one, or the label that it is `after` did not happen) or −1 (unknown: the window was still
open when the logs ended). A number is −1 where it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.labels import EventLabel
from features.settings import microseconds
from pipeline.config import Counting, PreprocessConfig
from pipeline.labeling.join import Events, searchsorted_pairs
from pipeline.labeling.values import ratio, running, shape

# What becomes of an event: its impression is not in the logs (orphan), the label `after` did not
# happen (without_parent), it is outside the window (too_early, late), it lacks the label's number
# (missing), it repeats an event or comes after the only one that counts (duplicate), it counts
# (matched).
DISPOSITIONS = ("matched", "duplicate", "too_early", "late", "missing", "without_parent", "orphan")
# µs by which events that were cut to a coarser unit are too early at most, by the slack that helps.
CUTS = {"1s": 1_000_000, "1m": 60_000_000, "1h": 3_600_000_000, "1d": 86_400_000_000}
MATCHED, DUPLICATE, TOO_EARLY, LATE, MISSING, WITHOUT_PARENT, ORPHAN = range(len(DISPOSITIONS))


@dataclass(frozen=True)
class CountedEvents:
    """Events that a label counts, sorted by row and time."""

    rows: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Early:
    """Events before their window.

    Attributes:
        longest: the longest time until it opens, in µs.
        cut: by slack of CUTS, the number of events that look cut to that unit.
    """

    longest: int
    cut: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """A label of [n] impressions, and what a label after it needs to know.

    Attributes:
        value: int8, or float32 for numbers.
        happened: whether a dependent window opens, at `time`.
        time: when it opens, where it happened.
        closed: whether no more events can come.
        valid: the events from `time` on.
        counts: all events by disposition.
        early: how early the events are that are too early.
    """

    value: np.ndarray
    happened: np.ndarray
    time: np.ndarray
    closed: np.ndarray
    valid: CountedEvents
    counts: dict[str, int]
    early: Early

    @property
    def last(self) -> np.ndarray:
        """The time of the last valid event, where it happened."""
        last = self.time.copy()
        last[self.valid.rows] = self.valid.times  # they are sorted, so the last one stays
        return last


def label_events(
    config: PreprocessConfig, times: np.ndarray, events: dict[str, Events], logs_end: int
) -> dict[str, Outcome]:
    """Computes every event label of the impressions at `times` [n], in the order of declaration."""
    outcomes: dict[str, Outcome] = {}
    for name, label in config.event_labels.items():
        parent = outcomes[label.after] if label.after else None
        outcomes[name] = label_one(
            label,
            times,
            events[label.event],
            logs_end,
            parent=parent,
            counting=config.counting(label),
            slack=config.slack(label.event),
        )
    return outcomes


def label_one(
    label: EventLabel,
    times: np.ndarray,
    events: Events,
    logs_end: int,
    *,
    parent: Outcome | None = None,
    counting: Counting = "first",
    slack: int = 0,
) -> Outcome:
    """Computes one label.

    Args:
        label: the label.
        times: [n] times of the impressions.
        events: the events of its stream.
        logs_end: when the logs end.
        parent: the label `after` which its window starts; None where it starts at the impression.
        counting: which event of the parent the window counts from.
        slack: how long before its window opens an event still counts, in µs.

    Returns:
        The label of each impression; every event has one of DISPOSITIONS.
    """
    within = microseconds(label.window)
    dispositions, leads = _judge(times, events, within, parent, counting, slack)
    numbers = _numbers(label, events)
    dispositions[(dispositions == MATCHED) & np.isnan(numbers)] = MISSING
    inside = np.flatnonzero(dispositions == MATCHED)
    inside = inside[np.lexsort((numbers[inside], events.times[inside], events.rows[inside]))]
    repeats = np.all(
        [
            np.diff(values[inside], prepend=np.nan) == 0
            for values in (numbers, events.times, events.rows)
        ],
        axis=0,
    )
    dispositions[inside[repeats]] = DUPLICATE
    inside = inside[~repeats]
    counted = CountedEvents(events.rows[inside], events.times[inside])
    if label.take == "first":
        dispositions[inside[np.diff(counted.rows, prepend=-1) == 0]] = DUPLICATE
    closed = _closed(times, within, logs_end, parent, counting)
    open_ = ~closed
    open_[events.rows[dispositions == MISSING]] = True  # their numbers are unknown
    value, time, happened = _value(label, counted, numbers[inside], closed, open_)
    since = happened[counted.rows] & (counted.times >= time[counted.rows])
    valid = CountedEvents(counted.rows[since], counted.times[since])
    counts = np.bincount(dispositions, minlength=len(DISPOSITIONS)).tolist()
    named = dict(zip(DISPOSITIONS, counts, strict=True))
    return Outcome(value, happened, time, closed, valid, named, _early(events.times, leads))


def _early(times: np.ndarray, leads: np.ndarray) -> Early:
    """How early events are from their times and the µs by which they are too early, else 0. Below a
    second any time counts as cut, above it those of whole units alone.
    """
    early = np.flatnonzero(leads)
    times, leads = times[early], leads[early]
    cut = {
        slack: int(np.sum((leads < unit) & ((slack == "1s") | (times % unit == 0))))
        for slack, unit in CUTS.items()
    }
    return Early(int(leads.max(initial=0)), cut)


def _judge(
    times: np.ndarray,
    events: Events,
    within: int,
    parent: Outcome | None,
    counting: Counting,
    slack: int,
) -> tuple[np.ndarray, np.ndarray]:
    """[m] int8 dispositions of events by their times alone: MATCHED for all inside the window; and
    [m] µs by which they are too early, else 0.
    """
    dispositions = np.full(len(events.rows), ORPHAN, np.int8)
    found = np.flatnonzero(events.rows >= 0)
    rows, at = events.rows[found], events.times[found]
    touched = None if events.touched is None else events.touched[found]
    began, start = np.ones(len(found), bool), times[rows]
    if parent is not None:
        began, start = parent.happened[rows], parent.time[rows]
    if parent is not None and counting != "first":
        until = at + slack if touched is None or counting == "last" else touched
        valid = parent.valid
        nearest = searchsorted_pairs(valid.rows, valid.times, rows, until, "right") - 1
        own = (nearest >= 0) & began
        own[own] = valid.rows[nearest[own]] == rows[own]
        start[own] = valid.times[nearest[own]]
        if counting == "touched":
            began = own & (start == touched)
    lead = (start if touched is None else np.maximum(start, touched)) - at
    dispositions[found] = np.where(
        ~began,
        WITHOUT_PARENT,
        np.where(lead > slack, TOO_EARLY, np.where(at - start > within, LATE, MATCHED)),
    )
    leads = np.zeros(len(events.rows), np.int64)
    leads[found] = np.where(began & (lead > slack), lead, 0)
    return dispositions, leads


def _numbers(label: EventLabel, events: Events) -> np.ndarray:
    """[m] numbers that the events add to the label; 1 where events only happen."""
    if label.value is None:
        return np.ones(len(events.rows))
    return ratio(events.values[label.value], events.values[label.of] if label.of else None)


def _closed(
    times: np.ndarray, within: int, logs_end: int, parent: Outcome | None, counting: Counting
) -> np.ndarray:
    """[n] bool mask: the window had closed before the logs ended, counted from the latest event
    that it can count from.
    """
    if parent is None:
        return times + within <= logs_end
    latest = parent.time if counting == "first" else parent.last
    over = latest + within <= logs_end
    if counting != "first":
        over &= parent.closed
    return np.where(parent.happened, over, parent.value >= 0)


def _value(
    label: EventLabel,
    counted: CountedEvents,
    numbers: np.ndarray,
    closed: np.ndarray,
    open_: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(value, time, happened) of [n] impressions from the counted events and their numbers, both
    sorted by row, time, number.

    A row without events is unknown where it is `open_`. A row with events is unknown where it is
    not `closed` and another event could change it.
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
