"""Encoded rows → TFRecord shards, and the files that describe them."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from features.spec import Spec

Layout = Literal["packed", "columns"]
Compression = Literal["none", "gzip"]

ROWS_AT_ONCE = 8192  # bounds the encoded bytes held in memory
# as fast as level 1, and smaller; level 6 takes twice as long for 4 % (packed) or 20 % (columns)
# fewer bytes
GZIP_LEVEL = 2
BYTES, FLOAT, INT = 1, 2, 3  # the lists of a tf.train.Feature, by their field numbers
SCHEMA_TYPES = {BYTES: schema_pb2.BYTES, FLOAT: schema_pb2.FLOAT, INT: schema_pb2.INT}


@dataclass(frozen=True)
class Rows:
    """The rows of a shard, in the order in which they are written.

    ids [n, S] int32; dense [n, D] float32, NaN = missing; labels by name [n], int8 for binary
    labels, float32 for numbers, −1 = unknown; weights [n] float32 where the job samples negatives;
    row_ids [n] strings.
    """

    ids: np.ndarray
    dense: np.ndarray
    labels: Mapping[str, np.ndarray]
    weights: np.ndarray | None
    row_ids: pa.Array

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, part: slice) -> Rows:
        labels = {name: label[part] for name, label in self.labels.items()}
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.ids[part], self.dense[part], labels, weights, self.row_ids[part])


class Column(NamedTuple):
    """One feature of the tf.Examples: its list in every row, as protobuf writes the list's values
    [n].

    A list holds one value, or `width` values, or 0 … `longest` values; integers lie in `domain`,
    where it is known.
    """

    name: str
    kind: int
    lists: pa.BinaryArray
    width: int | None = None
    longest: int | None = None
    domain: tuple[int, int] | None = None


def shard_name(split: str, index: int, count: int, compression: Compression = "none") -> str:
    return f"{split}/part-{index:05d}-of-{count:05d}.tfrecord" + (
        ".gz" if compression == "gzip" else ""
    )


def write_shard(
    path: Path,
    spec: Spec,
    rows: Rows,
    *,
    layout: Layout = "packed",
    compression: Compression = "none",
) -> dict:
    """Writes tf.Examples; returns the shard's rows, bytes and sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    batches = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
    chunks = (frame(encode_examples(LAYOUTS[layout](spec, batch))) for batch in batches)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in _gzip(chunks) if compression == "gzip" else chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return {"rows": len(rows), "bytes": size, "sha256": digest.hexdigest()}


def packed_columns(spec: Spec, rows: Rows) -> Iterator[Column]:
    """`ids` and `dense` as they lie, where there are any; then each label by its name, `weight` and
    `id`.
    """
    if spec.ids_width:
        yield Column("ids", INT, _varints(rows.ids), width=spec.ids_width)
    if spec.dense_width:
        yield Column("dense", FLOAT, _floats(rows.dense), width=spec.dense_width)
    yield from _row_columns(spec, rows)


def named_columns(spec: Spec, rows: Rows) -> Iterator[Column]:
    """Each feature by its name; of several values only those that are there, each with its weight
    if the list is weighted.
    """
    for name, slots in spec.id_slots.items():
        feature, ids = spec.features[name], rows.ids[:, slots.slice]
        longest = slots.length if slots.length > 1 or feature.max_length else None
        present = ids != 0 if longest else None
        yield Column(
            name,
            INT,
            _varints(ids, present),
            longest=longest,
            domain=(0, feature.buckets - 1) if feature.buckets else None,
        )
        if name in spec.weight_slots:
            weights = rows.dense[:, spec.weight_slots[name].slice]
            yield Column(f"{name}_weights", FLOAT, _floats(weights, present), longest=longest)
    for name, slots in spec.dense_slots.items():
        numbers = rows.dense[:, slots.slice]
        yield Column(name, FLOAT, _floats(numbers, ~np.isnan(numbers)), longest=1)
    yield from _row_columns(spec, rows)


LAYOUTS = {"packed": packed_columns, "columns": named_columns}


def _row_columns(spec: Spec, rows: Rows) -> Iterator[Column]:
    for name, label in spec.labels.items():
        if label.is_number:
            yield Column(name, FLOAT, _floats(rows.labels[name][:, None]))
        else:
            yield Column(name, INT, _by_value(pa.array(rows.labels[name]), _varint), domain=(-1, 1))
    if rows.weights is not None:
        yield Column("weight", FLOAT, _floats(rows.weights[:, None]))
    yield Column("id", BYTES, rows.row_ids.cast(pa.binary()))


def encode_examples(columns: Iterable[Column]) -> pa.BinaryArray:
    """Serialised tf.Examples [n]: the features in the order of their names, the same bytes every
    time.

    Protobuf writes a map in no set order, and tfx_bsl with it; this also writes a column at once,
    which is three times as fast.
    """
    parts = []
    for column in sorted(columns):
        parts += [
            _by_value(
                pc.binary_length(column.lists), partial(_entry, column.name.encode(), column.kind)
            ),
            column.lists,
        ]
    features = _join(*parts)
    return _join(_by_value(pc.binary_length(features), partial(_field, 1)), features)


def _entry(name: bytes, kind: int, size: int) -> bytes:
    """An entry of the map of features, up to the `size` bytes of its values: entry {key, Feature
    {list {values}}}.
    """
    values = _field(1, size) if size or kind == BYTES else b""
    feature = _field(kind, len(values) + size) + values
    entry = _field(1, len(name)) + name + _field(2, len(feature) + size) + feature
    return _field(1, len(entry) + size) + entry


def _field(number: int, size: int) -> bytes:
    """What stands before a message, text or packed list of `size` bytes."""
    return bytes([number << 3 | 2]) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that another byte follows. Below 0:
    modulo 2⁶⁴.
    """
    rest, digits = value % (1 << 64), []
    while rest >= 0x80:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*digits, rest])


def _varints(values: np.ndarray, present: np.ndarray | None = None) -> pa.BinaryArray:
    """The varints of each row's present values: [n, k] integers ≥ 0 → [n].

    Each value is spread over a word, seven bits a byte; `used` has a 1 in each byte that its varint
    needs.
    """
    word = np.uint32 if values.max(initial=0) < 1 << 28 else np.uint64
    values = values.astype(word, order="C")
    spread, used = values & word(0x7F), np.ones_like(values)
    for byte in range(1, word().itemsize):
        spread |= (values & word(0x7F << 7 * byte)) << word(byte)
        used |= (values >= word(1 << 7 * byte)).astype(word) << word(8 * byte)
    spread |= used >> word(1)  # a byte in use sets the top bit of the one before
    if present is not None:
        used *= present
    data = np.compress(used.view(np.bool_).reshape(-1), spread.view(np.uint8).reshape(-1))
    return _binary(data, np.bitwise_count(used).sum(1, dtype=np.int32))


def _floats(values: np.ndarray, present: np.ndarray | None = None) -> pa.BinaryArray:
    """The bytes of each row's present numbers: [n, k] float32 → [n]."""
    present = np.ones_like(values, bool) if present is None else present
    return _binary(values.astype(np.float32)[present], 4 * present.sum(1, dtype=np.int32))


def _by_value(values: pa.Array, encode: Callable[[int], bytes]) -> pa.BinaryArray:
    """`encode` of each of a few different values: [n] → [n]."""
    found = values.dictionary_encode()
    return pa.array(map(encode, found.dictionary.to_pylist()), pa.binary()).take(found.indices)


def _binary(data: np.ndarray, lengths: np.ndarray) -> pa.BinaryArray:
    """`data` cut into pieces of `lengths` bytes [n]."""
    offsets = np.cumsum(np.concatenate([[0], lengths]), dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _join(*parts: pa.BinaryArray) -> pa.BinaryArray:
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def frame(records: pa.BinaryArray) -> bytes:
    """TFRecord framing: length, masked crc32c of the length, record, masked crc32c of the record."""
    sums = _masked(
        np.fromiter(map(google_crc32c.value, records.to_pylist()), np.uint32, len(records))
    )
    tails = _binary(sums, np.full(len(sums), sums.itemsize))
    return (
        _join(_by_value(pc.binary_length(records), _frame_head), records, tails)
        .buffers()[2]
        .to_pybytes()
    )


def _frame_head(length: int) -> bytes:
    size = struct.pack("<Q", length)
    return size + _masked(np.array([google_crc32c.value(size)], np.uint32)).tobytes()


def _masked(sums: np.ndarray) -> np.ndarray:
    """The checksums as TFRecord stores them: rotated by 15 bits, plus a constant, modulo 2³²."""
    return (sums >> 15 | sums << 17) + np.uint32(0xA282EAD8)


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One gzip stream, without a name or a time in its header."""
    stream = zlib.compressobj(GZIP_LEVEL, wbits=31)
    yield from map(stream.compress, chunks)
    yield stream.flush()


def schema_text(spec: Spec, layout: Layout = "packed", weighted: bool = False) -> str:
    """schema.pbtxt: a layout in TensorFlow Metadata's terms, told by the columns of no rows.
    `weighted`: rows carry a weight.
    """
    nothing = Rows(
        ids=np.zeros((0, spec.ids_width), np.int32),
        dense=np.zeros((0, spec.dense_width), np.float32),
        labels={
            name: np.zeros(0, np.float32 if label.is_number else np.int8)
            for name, label in spec.labels.items()
        },
        weights=np.zeros(0, np.float32) if weighted else None,
        row_ids=pa.array([], pa.string()),
    )
    schema = schema_pb2.Schema()
    for column in LAYOUTS[layout](spec, nothing):
        feature = schema.feature.add(name=column.name, type=SCHEMA_TYPES[column.kind])
        feature.presence.min_fraction = 1.0
        if column.longest:
            feature.value_count.min, feature.value_count.max = 0, column.longest
        else:
            feature.shape.dim.extend(
                [schema_pb2.FixedShape.Dim(size=column.width)] if column.width else []
            )
            feature.shape.SetInParent()
        if column.domain:
            feature.int_domain.min, feature.int_domain.max = column.domain
    return text_format.MessageToString(schema)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
