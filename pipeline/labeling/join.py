"""Which rows are the same impression, in which order they are written, and whose impression every
event is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import hashing

ORIGIN = ("file", "place", "by_bytes")  # where a row came from, which must not matter


@dataclass(frozen=True)
class Events:
    """[m] events of one stream: the row of each one's impression (−1: none), its time in µs, its
    numbers by column (NaN: missing).

    `touched` is the time of the event that led there, where the stream goes via another.
    """

    rows: np.ndarray
    times: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    touched: np.ndarray | None = None


def deduplicate(impressions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(kept, repeated): row numbers. Of rows with one id the earliest is kept, at equal times the
    one of the smallest bytes.

    The kept ones are in the order of the mixed hash of their id, so that a shard is already
    shuffled.
    """
    ids, times = flat(impressions["id"]), impressions["time"].to_numpy()
    mixed = hashing.mix(impressions["hash"].to_numpy(), hashing.ORDER)
    order, first = group(mixed, ids)
    if not first.all():
        code = np.cumsum(first) - 1
        many = np.flatnonzero(np.bincount(code)[code] > 1)
        rows = order[many]
        order[many] = rows[np.lexsort((_content_ranks(impressions, rows), times[rows], code[many]))]
    kept = order[first]
    if (np.diff(mixed[kept]) == 0).any():  # two ids have one fingerprint
        kept = kept[
            np.lexsort((pc.rank(ids.take(pa.array(kept))).to_numpy(), times[kept], mixed[kept]))
        ]
    return kept, order[~first]


def group(hashes: np.ndarray, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(order, first): an order of [n] rows in which equal ids are neighbours, and where in it each
    id is new.

    Sorted by the ids' fingerprints; the texts are compared wherever two fingerprints are equal.
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
    """Finds ids among the kept impressions by their fingerprints, and makes sure of them by their
    texts.

    `kept` [n] are the rows of distinct `ids` in the order of the mixed hash, as `deduplicate` gives
    them.
    """

    def __init__(self, hashes: np.ndarray, ids: pa.Array, kept: np.ndarray) -> None:
        self.ids, self.kept, self.mixed = ids, kept, hashing.mix(hashes[kept], hashing.ORDER)

    def find(self, hashes: np.ndarray, ids: pa.Array) -> np.ndarray:
        """The place in `kept` of each of [m] ids, −1 where it is unknown or null."""
        found, mixed = np.full(len(ids), -1, np.int64), hashing.mix(hashes, hashing.ORDER)
        at, open_ = np.searchsorted(self.mixed, mixed), np.arange(len(ids))
        while len(open_):  # a second round only where two ids have one fingerprint
            open_ = open_[at[open_] < len(self.mixed)]
            open_ = open_[self.mixed[at[open_]] == mixed[open_]]
            same = _equal(self.ids, self.kept[at[open_]], ids, open_)
            found[open_[same]] = at[open_[same]]
            open_ = open_[~same]
            at[open_] += 1
        return found


def match(index: Index, events: pa.Table) -> Events:
    """Finds each event's impression by its id."""
    values = {name: column.to_numpy() for name, column in zip(events.column_names, events.columns, strict=True)
              if name.startswith("value:")}  # fmt: skip
    touched = (
        pc.fill_null(events["touched"], 0).to_numpy() if "touched" in events.column_names else None
    )
    rows = index.find(events["hash"].to_numpy(), flat(events["id"]))
    return Events(
        rows,
        events["time"].to_numpy(),
        {n.removeprefix("value:"): v for n, v in values.items()},
        touched,
    )


def place(
    groups: np.ndarray,
    times: np.ndarray,
    of_groups: np.ndarray,
    of_times: np.ndarray,
    side: Literal["left", "right"],
) -> np.ndarray:
    """numpy.searchsorted of [m] pairs (group, time) among [n] sorted pairs: how many come before,
    on the right side also the equal ones.
    """
    asked = np.repeat([False, True], [len(groups), len(of_groups)])
    ties = asked if side == "right" else ~asked
    order = np.lexsort(
        (ties, np.concatenate([times, of_times]), np.concatenate([groups, of_groups]))
    )
    counts = np.empty(len(order), np.int64)
    counts[order] = np.cumsum(~asked[order])
    return counts[len(groups) :]


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def origins(rows: pa.Table) -> list[tuple[int, int | None, int | None, str]]:
    """(number of the file, line, byte, id) of each row; the line is None where the byte is known."""
    columns = [rows[c].to_pylist() for c in (*ORIGIN, "id")]
    return [
        (file, None if by_bytes else place, place if by_bytes else None, id_)
        for file, place, by_bytes, id_ in zip(*columns, strict=True)
    ]


def _equal(
    left: pa.Array, left_rows: np.ndarray, right: pa.Array, right_rows: np.ndarray
) -> np.ndarray:
    same = pc.equal(left.take(pa.array(left_rows)), right.take(pa.array(right_rows)))
    return pc.fill_null(same, False).to_numpy(zero_copy_only=False)


def _content_ranks(impressions: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Ranks rows by the bytes that they hold, never by the file that they came from; equal bytes,
    equal rank.
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
