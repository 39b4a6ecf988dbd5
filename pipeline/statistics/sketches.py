"""What a feature's values are like, in little room: missing, distinct (a sketch) and most frequent
ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from features import hashing
from features.hashing import Hashed

KEPT = 2048  # smallest fingerprints: a standard error of 1 / √(KEPT − 2) = 2.2 %
TOP_OF_BATCH = 64
TOP_OF_ALL = 1024
EMPTY = hashing.fingerprint64(pa.array([""]))[0]  # the missing value among the distinct ones


@dataclass(frozen=True)
class Profile:
    """Of `rows` valid rows, how many have no value; the KEPT smallest fingerprints of the values,
    rising; the most frequent texts.

    A count in `top` is a lower bound: it leaves out the batches in which the value was not among
    the TOP_OF_BATCH first.
    """

    rows: int = 0
    missing: int = 0
    smallest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    top: dict[str, int] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """(KEPT − 1) / u, u the KEPT-th smallest fingerprint on the scale 0 … 1; exact below KEPT
        (Bar-Yossef et al., RANDOM 2002).
        """
        if len(self.smallest) < KEPT:
            return len(self.smallest)
        return round((KEPT - 1) / (float(self.smallest[-1]) / 2.0**64))


def profile_texts(hashed: Hashed, ids: np.ndarray) -> Profile:
    """Of a hashed feature, `ids` [n, slots] being the rows' ids."""
    counts = np.bincount(hashed.indices, minlength=len(hashed.fingerprints))
    fingerprints, empty = hashed.fingerprints, np.flatnonzero(hashed.fingerprints == EMPTY)
    absent = int(counts[empty].sum())
    if len(empty):
        counts[empty] = 0
        fingerprints = np.delete(fingerprints, empty)
    places = _most_frequent(counts)
    texts = hashed.distinct.take(pa.array(places)).to_pylist()
    top = dict(zip(texts, counts[places].tolist(), strict=True))
    return Profile(
        len(ids), absent if ids.shape[1] == 1 else missing(ids), _smallest(fingerprints), top
    )


def profile_integers(ids: np.ndarray) -> Profile:
    """Of a feature whose integers 0, 1, … are ids 1, 2, … as they are."""
    values, counts = np.unique(ids[ids > 0] - 1, return_counts=True)
    places = _most_frequent(counts)
    smallest = _smallest(hashing.mix(values.astype(np.uint64), hashing.SAMPLE))
    top = zip(map(str, values[places]), counts[places].tolist(), strict=True)
    return Profile(len(ids), missing(ids), smallest, dict(top))


def fold_profiles(profiles: Iterable[Profile]) -> Profile:
    """The profile of all their rows; the same in any order."""
    profiles = list(profiles)
    top: Counter[str] = Counter()
    for one in profiles:
        top.update(one.top)
    return Profile(
        sum(p.rows for p in profiles),
        sum(p.missing for p in profiles),
        np.unique(np.concatenate([p.smallest for p in profiles]))[:KEPT],
        dict(_by_count(top)[:TOP_OF_ALL]),
    )


def top_json(profile: Profile, shown: int = 10) -> list[tuple[str, int]]:
    """The most frequent values, ties by text."""
    return _by_count(profile.top)[:shown]


def _by_count(top: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(top.items(), key=lambda item: (-item[1], item[0]))


def _most_frequent(counts: np.ndarray) -> np.ndarray:
    """The places of the TOP_OF_BATCH largest counts; of those tied at the cut none, so that no
    order of the rows decides.
    """
    if len(counts) <= TOP_OF_BATCH:
        return np.flatnonzero(counts)
    places = np.flatnonzero(counts > 2 * counts.mean())
    if len(places) <= TOP_OF_BATCH:
        places = np.arange(len(counts))
    large = counts[places]
    return places[large > np.partition(large, -TOP_OF_BATCH - 1)[-TOP_OF_BATCH - 1]]


def _smallest(fingerprints: np.ndarray) -> np.ndarray:
    """The KEPT smallest of distinct fingerprints, rising. They are even on 0 … 2⁶⁴, so few need to
    be sorted.
    """
    if len(fingerprints) > 4 * KEPT:
        low = fingerprints[fingerprints < np.uint64(2**64 * 1.25 * KEPT / len(fingerprints))]
        fingerprints = low if len(low) >= KEPT else fingerprints
    return np.sort(fingerprints)[:KEPT]


def missing(ids: np.ndarray) -> int:
    """Rows without a value: [n, slots] ids, 0 where there is none."""
    if ids.shape[1] == 1:
        return int(np.count_nonzero(ids[:, 0] == 0))
    return len(ids) - int(np.count_nonzero(ids.any(axis=1)))
