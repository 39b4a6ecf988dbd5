"""The keys of streams: the time, the id of impressions, and the columns of events that hold it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from features.errors import FunnelError, nearest
from funnel.init.reading.columns import times
from funnel.init.reading.profile import Profile
from funnel.init.reading.sample import Sample

UNIQUE = 0.9  # distinct values for each value of an id: logs repeat some rows
FILLED = 0.99  # the share of rows with an id, or with a time
TIME_WORDS = {"ts", "time", "timestamp", "datetime", "date", "at", "when", "day", "created"}
ID_WORDS = {"id", "uuid", "guid", "key", "rid", "uid"}
GROUP_WORDS = {"user", "uid", "member", "customer", "visitor", "viewer", "account", "reader"}
MEMBERS = 50  # distinct users, at least
AGO, AHEAD = 946_684_800e6, 2_208_988_800e6  # 2000 and 2040 in µs


@dataclass
class Stream:
    """A stream with its keys.

    Attributes:
        times: [n] in µs, NaN where missing; None without a time.
        id: the column that holds an impression's id, or with `via` another event's key.
        key: the column by which other events name an event of this stream.
        via: the stream that an event's id names an event of.
        joined: the share of its events whose id was found.
        notes: what was uncertain.
    """

    name: str
    sample: Sample
    profiles: dict[str, Profile]
    missing: list[str]
    time: str | None = None
    times: np.ndarray | None = field(default=None, repr=False)
    id: str | None = None
    key: str | None = None
    via: str | None = None
    joined: float | None = None
    notes: list[str] = field(default_factory=list)

    def ids(self, column: str | None = None) -> pa.Array:
        """[n] ids as text, null where missing."""
        return self.profiles[column or self.id or ""].values.cast(pa.string())

    @property
    def rejected(self) -> float:
        """The share of lines that cannot be used: unreadable, or without id or time."""
        lacking = np.zeros(self.sample.rows, bool)
        if self.id is not None:
            lacking |= self.ids().is_null().to_numpy(zero_copy_only=False)
        if self.times is not None:
            lacking |= np.isnan(self.times)
        lines = self.sample.rows + self.sample.malformed
        return (int(lacking.sum()) + self.sample.malformed) / lines

    def column(self, name: str, option: str) -> Profile:
        """Raises FunnelError where the stream has no such column."""
        if name not in self.profiles:
            raise FunnelError(
                f"{option}: '{name}' is not a column of {self.name}: {nearest(name, self.profiles)}"
            )
        return self.profiles[name]


def words(name: str) -> list[str]:
    """The words of a column's name.

    Example:
        >>> words("lastClickTime"), words("user_id")
        (['last', 'click', 'time'], ['user', 'id'])
    """
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def find_time(stream: Stream, given: str | None) -> None:
    """Sets the column of times: dates, or epochs in a column whose name says so.

    Raises:
        FunnelError: the given column does not exist or holds no times.
    """
    if given in stream.profiles:
        found = times(stream.profiles[given])
        if found is None or np.isnan(found).mean() > 1 - FILLED:
            raise FunnelError(
                f"--time: '{given}' of {stream.name} holds no times; give a column of dates, "
                "ISO-8601 texts or epochs"
            )
        stream.time, stream.times = given, found
        return
    candidates = []
    for name, profile in stream.profiles.items():
        named = bool(TIME_WORDS & set(words(name)))
        found = times(profile) if named or profile.type == "time" else None
        if found is None or not len(found) or np.isnan(found).mean() > 1 - FILLED:
            continue
        known = found[~np.isnan(found)]
        if profile.type != "time" and not (known.min() > AGO and known.max() < AHEAD):
            continue
        candidates.append((named, profile.unique, name, found))
    if candidates:
        best = max(candidates, key=lambda c: (c[0], c[1]))
        stream.time, stream.times = best[2], best[3]
        others = [name for *_, name, _ in candidates if name != stream.time]
        if others:
            stream.notes.append(f"other times are in {', '.join(others)}: --time takes another")


def find_group(rows: Stream, given: str | None) -> str | None:
    """The column of users, or None."""
    if given is not None:
        rows.column(given, "--group")
        return given
    named = [
        (p.distinct, name)
        for name, p in rows.profiles.items()
        if GROUP_WORDS & set(words(name))
        and p.type in ("text", "integer")
        and not p.is_list
        and name != rows.id
        and p.distinct > MEMBERS
        and p.unique < UNIQUE
    ]
    return max(named)[1] if named else None
