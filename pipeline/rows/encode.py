"""A batch of a file → the narrow Arrow table that crosses the shuffle, cut into partitions by a
hash of the id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import arrays, hashing
from features.arrays import Encoded
from features.labels import ColumnLabel, EventLabel, Label
from pipeline.config import PreprocessConfig
from pipeline.labeling.values import ratio, value_label
from pipeline.rows.read import Batch, Piece, key, wanted
from pipeline.sources.files import Source

PACKED = pa.ipc.IpcWriteOptions(
    compression="lz4", use_threads=False
)  # packing takes less time than Beam's copies of what it saves


def encode_impressions(
    config: PreprocessConfig, piece: Piece, number: int, batch: Batch
) -> tuple[pa.Table, Encoded]:
    """(table, what its features were encoded to).

    The table: id, hash (its fingerprint), time, where it came from (number of the file, place,
    whether that is a byte), `evaluate`: the split by file, `split`: the fingerprint that a fraction
    is `by`, `ids` [S], `dense` [D], and the labels that come with the row.
    """
    spec, rows = config.spec, len(batch.places)
    encoded = arrays.encode(spec, batch.raw(spec.columns))
    hashes = hashing.fingerprint64(batch.columns["id"])
    columns = {
        "id": batch.columns["id"],
        "hash": hashes,
        "time": batch.columns.get("time", pa.array(np.zeros(rows, np.int64))),
        "file": np.full(rows, number, np.int32),
        "place": batch.places,
        "by_bytes": np.full(rows, piece.by_bytes, np.int8),
        "evaluate": np.full(rows, piece.source.evaluate, np.int8),
        "ids": _lists(encoded.ids),
        "dense": _lists(encoded.dense),
    }
    if config.split.eval.by is not None:
        columns["split"] = _split_hashes(batch.columns[key(config.split.eval.by, "text")], hashes)
    for name, label in spec.labels.items():
        if not isinstance(label, EventLabel):
            columns[f"label:{name}"] = _own_label(label, batch)
    return pa.table(columns), encoded


def encode_events(config: PreprocessConfig, stream: str, batch: Batch) -> pa.Table:
    """id, hash (its fingerprint), time, `value:…` of each number that labels read, and `key` where
    another stream goes via this one.
    """
    columns = {
        "id": batch.columns["id"],
        "hash": hashing.fingerprint64(batch.columns["id"]),
        "time": batch.columns["time"],
    }
    columns |= {
        f"value:{column}": _numbers(batch, column) for column in config.value_columns(stream)
    }
    if stream in config.vias.values():
        columns["key"] = batch.columns[key(config.logs[stream].key, "text")]
    return pa.table(columns)


def column_label(label: ColumnLabel, texts: pa.Array) -> np.ndarray:
    """1 where the text equals one of the label's, 0 where it does not, −1 where it is missing: [n]
    int8.
    """
    wanted = [label.equals] if isinstance(label.equals, str) else label.equals
    equal = pc.is_in(texts, value_set=pa.array(wanted, texts.type)).cast(pa.int8())
    return pc.if_else(pc.is_null(texts), pa.scalar(-1, pa.int8()), equal).to_numpy(
        zero_copy_only=False
    )


def cut(table: pa.Table, partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition: mixed hash of the id modulo their number."""
    part = hashing.mix(table["hash"].to_numpy(), hashing.PARTITION) % np.uint64(partitions)
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=partitions))
    sorted_table = table.take(pa.array(order))
    for p, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > start:
            yield p, sorted_table.slice(start, end - start)


def to_ipc(table: pa.Table) -> bytes:
    """An Arrow IPC stream: what crosses Beam's shuffle."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=PACKED) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def gather(
    config: PreprocessConfig, tables: Mapping[str, Sequence[pa.Table]]
) -> tuple[pa.Table, dict[str, pa.Table]]:
    """(impressions, events by stream) of one partition from its batches by stream; of a stream
    without any a table without rows.
    """
    whole = {
        stream: pa.concat_tables(tables.get(stream) or [no_rows(config, stream)]).combine_chunks()
        for stream in config.logs
    }
    return whole.pop(config.rows), whole


def no_rows(config: PreprocessConfig, stream: str) -> pa.Table:
    """What a stream without rows is encoded to."""
    batch = _no_rows(config, stream)
    if stream != config.rows:
        events = encode_events(config, stream, batch)
        return (
            events.append_column("touched", pa.array([], pa.int64()))
            if stream in config.vias
            else events
        )
    return encode_impressions(config, Piece(Source(stream, "", "", 0, "")), 0, batch)[0]


def _no_rows(config: PreprocessConfig, stream: str) -> Batch:
    columns = {"id": pa.array([], pa.string()), "time": pa.array([], pa.int64())}
    columns |= {
        key(column, raw_type): pa.array([], arrays.ARROW_TYPES[raw_type])
        for column, raw_type in wanted(config, stream).columns
    }
    return Batch(columns, np.arange(0), 0)


def _lists(values: np.ndarray) -> pa.Array:
    """[n, width] as lists of equal length; null where the width is 0."""
    rows, width = values.shape
    return pa.FixedSizeListArray.from_arrays(values.reshape(-1), width) if width else pa.nulls(rows)


def _split_hashes(by: pa.Array, hashes: np.ndarray) -> np.ndarray:
    """The fingerprints of the column that a fraction is `by`; those of the id where it is missing."""
    missing = pc.fill_null(pc.equal(by, ""), True).to_numpy(zero_copy_only=False)
    hashed = hashing.hash_texts(by)
    return np.where(missing, hashes, hashed.fingerprints[hashed.indices])


def _numbers(batch: Batch, column: str) -> np.ndarray:
    """A column of numbers, NaN where they are missing."""
    return batch.columns[key(column, "number")].to_numpy(zero_copy_only=False).astype(np.float64)


def _own_label(label: Label, batch: Batch) -> np.ndarray:
    """A label that comes with the row."""
    if isinstance(label, ColumnLabel):
        return column_label(label, batch.columns[key(label.column, "text")])
    return value_label(
        label, ratio(_numbers(batch, label.value), _numbers(batch, label.of) if label.of else None)
    )
