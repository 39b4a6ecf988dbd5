"""Encoded rows → TFRecord shards, and the files that describe them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from features.spec import Spec

ROWS_AT_ONCE = 8192  # bounds the encoded bytes held in memory


def shard_name(split: str, index: int, count: int) -> str:
    return f"{split}/part-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: Path, spec: Spec, ids: np.ndarray, dense: np.ndarray, labels: Mapping[str, np.ndarray], row_ids: pa.Array) -> dict:
    """Writes packed tf.Examples; returns the shard's rows, bytes and sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for start in range(0, len(row_ids), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            columns = packed_columns(spec, ids[rows], dense[rows], {n: v[rows] for n, v in labels.items()}, row_ids[rows])
            data = frame(encode_examples(columns))
            file.write(data)
            digest.update(data)
            size += len(data)
    return {"rows": len(row_ids), "bytes": size, "sha256": digest.hexdigest()}


def packed_columns(
    spec: Spec, ids: np.ndarray, dense: np.ndarray, labels: Mapping[str, np.ndarray], row_ids: pa.Array
) -> dict[str, pa.Array]:
    """The packed layout as lists: `ids` int64, `dense` float32, each label by its name, `id` bytes. Empty ones are left out."""
    columns = {}
    if spec.ids_width:
        columns["ids"] = _lists(pa.array(ids.reshape(-1), pa.int64()), spec.ids_width)
    if spec.dense_width:
        columns["dense"] = _lists(pa.array(dense.reshape(-1), pa.float32()), spec.dense_width)
    for name in spec.labels:
        columns[name] = _lists(pa.array(labels[name], pa.int64()), 1)
    columns["id"] = _lists(row_ids.cast(pa.binary()), 1)
    return columns


def encode_examples(columns: Mapping[str, pa.Array]) -> Iterable[bytes]:
    """Serialised tf.Examples, the same bytes every time.

    A protobuf map is written in no set order, so each column is encoded by itself: serialised messages that follow one
    another parse as one (tf.io.parse_example reads them so, too).
    """
    encoder = example_coder.RecordBatchToExamplesEncoder()
    encoded = [encoder.encode(pa.RecordBatch.from_pydict({name: column})) for name, column in columns.items()]
    return map(b"".join, zip(*encoded, strict=True))


def frame(records: Iterable[bytes]) -> bytes:
    """TFRecord framing: length, masked crc32c of the length, record, masked crc32c of the record."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, _masked_crc(length), record, _masked_crc(record)]
    return b"".join(parts)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _lists(flat: pa.Array, width: int) -> pa.Array:
    offsets = pa.array(np.arange(0, len(flat) + 1, width), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)


def schema_text(spec: Spec) -> str:
    """schema.pbtxt: the packed layout in TensorFlow Metadata's terms."""
    schema = schema_pb2.Schema()
    wide = [("ids", schema_pb2.INT, spec.ids_width), ("dense", schema_pb2.FLOAT, spec.dense_width)]
    for name, kind, width in [w for w in wide if w[2]]:
        feature = schema.feature.add(name=name, type=kind)
        feature.shape.dim.add(size=width)
        feature.presence.min_fraction = 1.0
    for name in spec.labels:
        feature = schema.feature.add(name=name, type=schema_pb2.INT)
        feature.shape.SetInParent()
        feature.int_domain.min, feature.int_domain.max = -1, 1
        feature.presence.min_fraction = 1.0
    feature = schema.feature.add(name="id", type=schema_pb2.BYTES)
    feature.shape.SetInParent()
    feature.presence.min_fraction = 1.0
    return text_format.MessageToString(schema)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
