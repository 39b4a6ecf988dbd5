"""One partition's impressions without duplicates, in the order in which they are written, and the impression of every event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features import hashing


@dataclass(frozen=True)
class Events:
    """Events of one stream: the row of each one's impression (−1: none) and its time in µs."""

    rows: np.ndarray
    times: np.ndarray


def deduplicate(impressions: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(impressions, duplicates): of rows with one id the earliest is kept, at equal times the smallest bytes.

    The kept ones are ordered by the mixed hash of their id, so that a shard is already shuffled.
    """
    codes = _codes(impressions["id"])
    times = impressions["time"].to_numpy()
    order = np.lexsort((times, codes))
    tied = np.flatnonzero((np.diff(codes[order]) == 0) & (np.diff(times[order]) == 0))
    if len(tied):
        order = _break_ties(impressions, order, tied)
    first = np.ones(len(order), bool)
    first[1:] = np.diff(codes[order]) != 0
    kept = impressions.take(pa.array(order[first]))
    duplicates = impressions.take(pa.array(order[~first])).select(["id", "file", "line"])
    mixed = hashing.mix(kept["hash"].to_numpy(), hashing.ORDER)
    return kept.take(pa.array(np.lexsort((kept["time"].to_numpy(), mixed)))), duplicates


def match(impressions: pa.Table, events: pa.Table) -> Events:
    """Finds each event's impression by its id."""
    count = len(impressions)
    codes = _codes(pa.chunked_array([*impressions["id"].chunks, *events["id"].chunks], pa.string()))
    row_of = np.full(codes.max(initial=-1) + 1, -1, np.int64)
    row_of[codes[:count]] = np.arange(count)
    return Events(row_of[codes[count:]], events["time"].to_numpy())


def _codes(ids: pa.ChunkedArray) -> np.ndarray:
    """Equal ids ↔ equal codes 0, 1, …"""
    encoded = ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64)


def _break_ties(impressions: pa.Table, order: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Orders rows of equal id and time by what they hold, never by the file they came from."""
    content = impressions.select([c for c in impressions.column_names if c not in ("file", "line")])
    order = order.copy()
    for start, end in _stretches(tied):
        rows = order[start:end]
        held = [str(list(row.values())) for row in content.take(pa.array(rows)).to_pylist()]
        order[start:end] = [row for _, row in sorted(zip(held, rows, strict=True), key=lambda pair: pair[0])]
    return order


def _stretches(tied: np.ndarray) -> list[tuple[int, int]]:
    """[3, 4, 9] → [(3, 6), (9, 11)]: stretches of rows each tied with the next."""
    runs = np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1)
    return [(int(run[0]), int(run[-1]) + 2) for run in runs]


def empty_events() -> pa.Table:
    """The events of a partition that has none."""
    return pa.table({"id": pa.array([], pa.string()), "time": pa.array([], pa.int64())})


def duplicates_by_file(duplicates: pa.Table) -> list[tuple[int, int, str]]:
    """(file number, line, id) of each duplicate."""
    columns = [duplicates[c].to_pylist() for c in ("file", "line", "id")]
    return list(zip(*columns, strict=True))
