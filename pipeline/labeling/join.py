"""Deduplicates and orders impressions, and matches events to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import hashing
from pipeline.arrow import flat

# Where a row came from. Only which of several equal rows is kept depends on it.
ORIGIN = ("file", "position", "by_bytes")


@dataclass(frozen=True)
class Events:
    """[m] events of one stream.

    Attributes:
        rows: the row of the event's impression, −1 where there is none.
        times: in µs.
        values: numbers by column, NaN where missing.
        touched: the time of the touch, where the stream goes via another.
    """

    rows: np.ndarray
    times: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    touched: np.ndarray | None = None


def deduplicate(impressions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Keeps one row of each id: the earliest, at equal times the one of the smallest bytes, of
    equal rows the first by file and position.

    Returns:
        The rows kept, in the order of the mixed hash of their id, so that a shard is already
        shuffled; and the other rows.
    """
    ids, times = flat(impressions["id"]), impressions["time"].to_numpy()
    mixed = hashing.mix(impressions["hash"].to_numpy(), hashing.ORDER)
    order, first = group(mixed, ids)
    if not first.all():
        code = np.cumsum(first) - 1
        many = np.flatnonzero(np.bincount(code)[code] > 1)
        rows = order[many]
        files, positions = (impressions[c].to_numpy()[rows] for c in ("file", "position"))
        contents = _content_ranks(impressions, rows)
        order[many] = rows[np.lexsort((positions, files, contents, times[rows], code[many]))]
    kept = order[first]
    if (np.diff(mixed[kept]) == 0).any():  # two ids share a fingerprint
        kept = kept[
            np.lexsort((pc.rank(ids.take(pa.array(kept))).to_numpy(), times[kept], mixed[kept]))
        ]
    return kept, order[~first]


def group(hashes: np.ndarray, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Orders [n] rows by the fingerprints of their ids; texts are compared where two fingerprints
    are equal.

    Returns:
        An order in which equal ids are neighbors, and an [n] bool mask of where in it each id
        occurs first.
    """
    order = np.argsort(hashes)
    first = np.ones(len(order), bool)
    first[1:] = np.diff(hashes[order]) != 0
    alike = np.flatnonzero(~first)
    if not _equal(ids, order[alike - 1], ids, order[alike]).all():
        texts = ids.dictionary_encode().indices.to_numpy()
        order = np.lexsort((texts, hashes))
        first[1:] = np.diff(texts[order]) != 0
    return order, first


class Index:
    """Finds ids among the kept impressions by fingerprint, confirmed by text.

    Args:
        hashes: fingerprints of all ids.
        ids: all ids.
        kept: [n] rows of distinct ids in the order of the mixed hash, as `deduplicate` gives them.
    """

    def __init__(self, hashes: np.ndarray, ids: pa.Array, kept: np.ndarray) -> None:
        self.ids, self.kept, self.mixed = ids, kept, hashing.mix(hashes[kept], hashing.ORDER)

    def find(self, hashes: np.ndarray, ids: pa.Array) -> np.ndarray:
        """[m] indices into `kept`, −1 where an id is unknown or null."""
        found, mixed = np.full(len(ids), -1, np.int64), hashing.mix(hashes, hashing.ORDER)
        at, open_ = np.searchsorted(self.mixed, mixed), np.arange(len(ids))
        while len(open_):  # a second round only where two ids share a fingerprint
            open_ = open_[at[open_] < len(self.mixed)]
            open_ = open_[self.mixed[at[open_]] == mixed[open_]]
            same = _equal(self.ids, self.kept[at[open_]], ids, open_)
            found[open_[same]] = at[open_[same]]
            open_ = open_[~same]
            at[open_] += 1
        return found


def match(index: Index, events: pa.Table) -> Events:
    """Finds each event's impression by its id."""
    values = {
        name.removeprefix("value:"): events[name].to_numpy()
        for name in events.column_names
        if name.startswith("value:")
    }
    touched = None
    if "touched" in events.column_names:
        touched = pc.fill_null(events["touched"], 0).to_numpy()
    rows = index.find(events["hash"].to_numpy(), flat(events["id"]))
    return Events(rows, events["time"].to_numpy(), values, touched)


def searchsorted_pairs(
    groups: np.ndarray,
    times: np.ndarray,
    query_groups: np.ndarray,
    query_times: np.ndarray,
    side: Literal["left", "right"],
) -> np.ndarray:
    """numpy.searchsorted of [m] pairs (group, time) among [n] sorted pairs.

    Example:
        >>> groups, times = np.array([1, 1, 2]), np.array([5, 9, 5])
        >>> searchsorted_pairs(groups, times, np.array([1, 2]), np.array([9, 1]), "right").tolist()
        [2, 2]
    """
    is_query = np.repeat([False, True], [len(groups), len(query_groups)])
    ties = is_query if side == "right" else ~is_query
    order = np.lexsort(
        (ties, np.concatenate([times, query_times]), np.concatenate([groups, query_groups]))
    )
    counts = np.empty(len(order), np.int64)
    counts[order] = np.cumsum(~is_query[order])
    return counts[len(groups) :]


def _equal(
    left: pa.Array, left_rows: np.ndarray, right: pa.Array, right_rows: np.ndarray
) -> np.ndarray:
    same = pc.equal(left.take(pa.array(left_rows)), right.take(pa.array(right_rows)))
    equal: np.ndarray = pc.fill_null(same, False).to_numpy(zero_copy_only=False)
    return equal


def _content_ranks(impressions: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Ranks rows by the bytes that they hold, never by the file that they came from. Rows of equal
    bytes have equal ranks.
    """
    content = impressions.drop_columns([*ORIGIN, "id"]).take(pa.array(rows))
    columns = [_bytes(flat(column)) for column in content.columns if column.type != pa.null()]
    joined = np.ascontiguousarray(np.concatenate(columns, axis=1))
    return np.unique(joined.view(f"V{joined.shape[1]}").reshape(-1), return_inverse=True)[1]


def _bytes(column: pa.Array) -> np.ndarray:
    """The values of a column of numbers, of lists of equal length or of texts (by their rank) as
    bytes [n, width].
    """
    if pa.types.is_string(column.type):
        column = pc.rank(column, tiebreaker="dense")
    values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    width = len(values) // max(1, len(column)) * values.type.byte_width
    return np.ascontiguousarray(values.to_numpy()).view(np.uint8).reshape(len(column), width)
