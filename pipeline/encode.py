"""A batch of valid rows → the narrow Arrow table that crosses the shuffle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import arrays, hashing
from features.arrays import Encoded
from features.labels import ColumnLabel, EventLabel, ValueLabel
from pipeline.config import PreprocessConfig
from pipeline.labeling.values import column_label, ratio, value_label
from pipeline.rows.batch import Batch, column_key
from pipeline.rows.columns import columns_needed
from pipeline.sources.pieces import Piece


def encode_impressions(
    config: PreprocessConfig, piece: Piece, number: int, batch: Batch
) -> tuple[pa.Table, Encoded]:
    """Encodes rows that become examples.

    Args:
        config: the configuration.
        piece: the piece that the rows are from.
        number: the number of its file.
        batch: the rows.

    Returns:
        The encoded features, and a table with the columns
        id and hash (its fingerprint), time,
        file (`number`), position and by_bytes (whether the position is a byte offset),
        evaluate (whether the file is one of the eval split),
        split (the fingerprint of the column that the split is `by`, if it is),
        ids [S], dense [D], and label:<name> of each label that comes with the row.
    """
    return _encode_rows(config, batch, number, piece.by_bytes, piece.source.evaluate)


def _encode_rows(
    config: PreprocessConfig, batch: Batch, number: int, by_bytes: bool, evaluate: bool
) -> tuple[pa.Table, Encoded]:
    spec, rows = config.spec, len(batch.positions)
    encoded = arrays.encode(spec, batch.raw(spec.columns))
    hashes = hashing.fingerprint64(batch.columns["id"])
    columns = {
        "id": batch.columns["id"],
        "hash": hashes,
        "time": batch.columns.get("time", pa.array(np.zeros(rows, np.int64))),
        "file": np.full(rows, number, np.int32),
        "position": batch.positions,
        "by_bytes": np.full(rows, by_bytes, np.int8),
        "evaluate": np.full(rows, evaluate, np.int8),
        "ids": _lists(encoded.ids),
        "dense": _lists(encoded.dense),
    }
    if config.split.eval.by is not None:
        by = batch.columns[column_key(config.split.eval.by, "text")]
        columns["split"] = _split_hashes(by, hashes)
    for name, label in spec.labels.items():
        if not isinstance(label, EventLabel):
            columns[f"label:{name}"] = _own_label(label, batch)
    return pa.table(columns), encoded


def encode_events(config: PreprocessConfig, stream: str, batch: Batch) -> pa.Table:
    """Encodes events: id and hash (its fingerprint), time, value:<column> of each number that
    labels read, and key where another stream goes via this one.
    """
    columns = {
        "id": batch.columns["id"],
        "hash": hashing.fingerprint64(batch.columns["id"]),
        "time": batch.columns["time"],
    }
    for column in config.value_columns(stream):
        columns[f"value:{column}"] = _numbers(batch, column)
    key = config.logs[stream].key
    if key is not None and stream in config.vias.values():
        columns["key"] = batch.columns[column_key(key, "text")]
    return pa.table(columns)


def gather(
    config: PreprocessConfig, tables: Mapping[str, Sequence[pa.Table]]
) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Joins the batches of one partition.

    Args:
        config: the configuration.
        tables: encoded batches by stream; a stream may be absent.

    Returns:
        The impressions, and the events by stream.
    """
    streams = {
        stream: pa.concat_tables(tables.get(stream) or [_no_rows(config, stream)]).combine_chunks()
        for stream in config.logs
    }
    return streams.pop(config.rows), streams


def _no_rows(config: PreprocessConfig, stream: str) -> pa.Table:
    """The table of a stream without rows."""
    columns = {"id": pa.array([], pa.string()), "time": pa.array([], pa.int64())}
    for column, raw_type in columns_needed(config, stream).columns:
        columns[column_key(column, raw_type)] = pa.array([], arrays.ARROW_TYPES[raw_type])
    batch = Batch(columns, np.arange(0), 0)
    if stream == config.rows:
        return _encode_rows(config, batch, number=0, by_bytes=False, evaluate=False)[0]
    events = encode_events(config, stream, batch)
    if stream in config.vias:
        events = events.append_column("touched", pa.array([], pa.int64()))
    return events


def _lists(values: np.ndarray) -> pa.Array:
    """[n, width] as lists of equal length; null where the width is 0."""
    rows, width = values.shape
    return pa.FixedSizeListArray.from_arrays(values.reshape(-1), width) if width else pa.nulls(rows)


def _split_hashes(by: pa.Array, hashes: np.ndarray) -> np.ndarray:
    """Fingerprints of the column that the split is `by`; those of the id where it is missing."""
    missing = pc.fill_null(pc.equal(by, ""), True).to_numpy(zero_copy_only=False)
    hashed = hashing.hash_texts(by)
    return np.where(missing, hashes, hashed.fingerprints[hashed.indices])


def _numbers(batch: Batch, column: str) -> np.ndarray:
    """A column of numbers, NaN where they are missing."""
    values = batch.columns[column_key(column, "number")]
    numbers: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers


def _own_label(label: ColumnLabel | ValueLabel, batch: Batch) -> np.ndarray:
    """A label that comes with the row."""
    if isinstance(label, ColumnLabel):
        return column_label(label, batch.columns[column_key(label.column, "text")])
    of = _numbers(batch, label.of) if label.of else None
    return value_label(label, ratio(_numbers(batch, label.value), of))
