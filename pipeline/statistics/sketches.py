"""Sketches of a feature's values: how many are missing or distinct, and which are most frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from features import hashing
from features.hashing import Hashed
from pipeline.statistics.smallest import smallest
from pipeline.typed_json import Array

KEPT = 2048  # smallest fingerprints: a standard error of 1 / √(KEPT − 2) = 2.2 %
TOP_OF_BATCH = 64
TOP_OF_ALL = 1024
EMPTY = hashing.fingerprint64(pa.array([""]))[0]  # the missing value among the distinct ones


@dataclass(frozen=True)
class Profile:
    """A sketch of a feature's values.

    Attributes:
        rows: the number of valid rows.
        missing: the rows without a value.
        smallest: the KEPT smallest fingerprints of the values, rising.
        top: the most frequent texts with their counts. A count is a lower bound: it leaves out
            batches in which the value was not among the TOP_OF_BATCH most frequent.
    """

    rows: int = 0
    missing: int = 0
    smallest: Array = field(default_factory=lambda: np.zeros(0, np.uint64))
    top: dict[str, int] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """The number of distinct values: (KEPT − 1) / u, where u is the KEPT-th smallest
        fingerprint on the scale 0 … 1; exact below KEPT (Bar-Yossef et al., RANDOM 2002).
        """
        if len(self.smallest) < KEPT:
            return len(self.smallest)
        return round((KEPT - 1) / (float(self.smallest[-1]) / 2.0**64))


def profile_texts(hashed: Hashed, ids: np.ndarray) -> Profile:
    """Profiles a hashed feature with the ids [n, slots]."""
    counts = np.bincount(hashed.indices, minlength=len(hashed.fingerprints))
    fingerprints, empty = hashed.fingerprints, np.flatnonzero(hashed.fingerprints == EMPTY)
    absent = int(counts[empty].sum())
    if len(empty):
        counts[empty] = 0
        fingerprints = np.delete(fingerprints, empty)
    indices = _most_frequent(counts)
    texts = hashed.distinct.take(pa.array(indices)).to_pylist()
    top = dict(zip(texts, counts[indices].tolist(), strict=True))
    return Profile(
        len(ids), absent if ids.shape[1] == 1 else missing(ids), _smallest(fingerprints), top
    )


def profile_integers(ids: np.ndarray) -> Profile:
    """Profiles a feature whose integers 0, 1, … become the ids 1, 2, …"""
    values, counts = np.unique(ids[ids > 0] - 1, return_counts=True)
    indices = _most_frequent(counts)
    smallest = _smallest(hashing.mix(values.astype(np.uint64), hashing.SAMPLE))
    top = zip(map(str, values[indices]), counts[indices].tolist(), strict=True)
    return Profile(len(ids), missing(ids), smallest, dict(top))


def fold_profiles(profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows; the order of the profiles does not matter."""
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
    """The indices of the TOP_OF_BATCH largest counts. Counts tied at the cut are left out, so that
    the order of the rows does not decide.
    """
    if len(counts) <= TOP_OF_BATCH:
        return np.flatnonzero(counts)
    indices = np.flatnonzero(counts > 2 * counts.mean())
    if len(indices) <= TOP_OF_BATCH:
        indices = np.arange(len(counts))
    large = counts[indices]
    kept = large > np.partition(large, -TOP_OF_BATCH - 1)[-TOP_OF_BATCH - 1]
    most: np.ndarray = indices[kept]
    return most


def _smallest(fingerprints: np.ndarray) -> np.ndarray:
    """The KEPT smallest of distinct fingerprints, rising."""
    rising: np.ndarray = np.sort(fingerprints[smallest(fingerprints, KEPT)])
    return rising


def missing(ids: np.ndarray) -> int:
    """The number of rows without a value in ids [n, slots], where 0 is missing."""
    if ids.shape[1] == 1:
        return int(np.count_nonzero(ids[:, 0] == 0))
    return len(ids) - int(np.count_nonzero(ids.any(axis=1)))
