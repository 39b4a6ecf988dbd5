"""Events → labels: windows, maturity, and what became of every event.

Times are int64 µs. A label is 1 (its event happened inside the window), 0 (the window closed without it, or what must come
before did not happen) or −1 (unknown: the window was still open when the logs ended).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from features.declarations import EventLabel
from features.settings import microseconds
from pipeline.config import PreprocessConfig
from pipeline.join import Events

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DISPOSITIONS = ("matched", "duplicate", "before", "late", "unprecedented", "orphan")


@dataclass(frozen=True)
class Calendar:
    """When the logs end, the last time at which an impression's every window has closed, and where evaluation begins.

    `eval_from` is exclusive and None unless the split is by time.
    """

    logs_end: int
    mature_until: int
    eval_from: int | None


@dataclass(frozen=True)
class Outcome:
    """A label of [n] impressions: value −1, 0 or 1, the time of its event where it is 1, and its events by disposition."""

    value: np.ndarray
    time: np.ndarray
    counts: dict[str, int]


def make_calendar(config: PreprocessConfig, last_times: dict[str, int | None]) -> Calendar:
    """From the latest time of each stream. Without times everything is mature."""
    known = [t for t in last_times.values() if t is not None]
    end = max(known, default=0)
    if config.split.logs_end is not None:
        end = microseconds(config.split.logs_end - EPOCH)
    mature_until = end - config.longest_window
    last = config.split.eval.last
    if last is None:
        return Calendar(end, mature_until, None)
    latest_impression = last_times.get(config.rows) or 0
    return Calendar(end, mature_until, min(mature_until, latest_impression) - microseconds(last))


def label_events(config: PreprocessConfig, times: np.ndarray, events: dict[str, Events], logs_end: int) -> dict[str, Outcome]:
    """Every event label of the impressions at `times` [n], in the order of their declaration."""
    outcomes: dict[str, Outcome] = {}
    for name, label in config.event_labels.items():
        before = outcomes[label.after] if label.after else None
        outcomes[name] = label_one(label, times, before, events[label.event], logs_end)
    return outcomes


def label_one(label: EventLabel, times: np.ndarray, before: Outcome | None, events: Events, logs_end: int) -> Outcome:
    """One label. Its window starts at the impression, or at the event of `before`; the earliest event inside it counts.

    Each event has one disposition: orphan (its impression is not in the logs), unprecedented (the label `after` did not
    happen), before or late (outside the window), duplicate (after the earliest one inside), matched.
    """
    within = microseconds(label.within)
    start = times if before is None else before.time
    started = np.ones(len(times), bool) if before is None else before.value == 1
    found = events.rows >= 0
    began = np.zeros(len(found), bool)
    began[found] = started[events.rows[found]]
    elapsed = np.zeros(len(found), np.int64)
    elapsed[began] = events.times[began] - start[events.rows[began]]
    inside = began & (elapsed >= 0) & (elapsed <= within)
    time = np.zeros(len(times), np.int64)
    candidates = np.flatnonzero(inside)
    candidates = candidates[np.lexsort((events.times[candidates], events.rows[candidates]))]
    rows, first = np.unique(events.rows[candidates], return_index=True)
    time[rows] = events.times[candidates[first]]
    closed = start + within <= logs_end
    value = np.where(started, np.where(closed, 0, -1), 0 if before is None else np.minimum(before.value, 0)).astype(np.int8)
    value[rows] = 1
    counts = [len(rows), len(candidates) - len(rows), began & (elapsed < 0), began & (elapsed > within), found & ~began, ~found]
    return Outcome(value, time, {kind: int(np.sum(c)) for kind, c in zip(DISPOSITIONS, counts, strict=True)})


TRAIN, EVAL, DROPPED = 0, 1, 2


def assign_split(
    config: PreprocessConfig, times: np.ndarray, by_file: np.ndarray, by_hash: np.ndarray, labels: list[np.ndarray], calendar: Calendar
) -> np.ndarray:
    """TRAIN, EVAL or DROPPED (immature) for [n] impressions.

    `by_file` marks rows of split.eval.files, `by_hash` is the id's place in [0, 1).
    """
    evaluation = config.split.eval
    if evaluation.files is not None:
        chosen = by_file == 1
    elif evaluation.fraction is not None:
        chosen = by_hash < evaluation.fraction
    else:
        chosen = (times > calendar.eval_from) & (times <= calendar.mature_until)
    mature = times <= calendar.mature_until if config.event_labels else np.ones(len(times), bool)
    known = np.any([label >= 0 for label in labels], axis=0)
    usable = known & (mature | (config.split.immature == "keep"))
    split = np.where(chosen & mature, EVAL, np.where(chosen, DROPPED, TRAIN))
    return np.where(usable, split, DROPPED).astype(np.int8)
