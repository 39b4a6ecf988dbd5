"""The first training examples of a preprocessed directory, by feature name."""

from __future__ import annotations

import gzip
import itertools
import math
import struct
from collections.abc import Iterator
from pathlib import Path

from features.layouts import ArrayKey, array_keys
from features.spec import Spec

Value = str | int | float | list | None


def first_examples(data: Path, manifest: dict, count: int) -> list[dict[str, Value]]:
    """Each as {id, labels, weight, features}: an id or a number, None where it is missing; of
    several values the list of those present, as (id, weight) where the list is weighted.
    """
    from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: F401  (before tfx_bsl: its protos share a pool with tf.Example's)
    from tfx_bsl.coders import example_coder

    spec = Spec.load(data / "spec.json")
    shards = (data / shard["file"] for shard in manifest["shards"]["train"])
    chosen = list(itertools.islice(itertools.chain.from_iterable(map(records, shards)), count))
    decoded = (
        example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(chosen).to_pylist()
        if chosen
        else []
    )
    keys = array_keys(manifest["layout"], spec)
    return [_row(spec, row) | _by_name(spec, *_arrays(spec, keys, row)) for row in decoded]


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: 8 bytes length, 4 of its checksum, the record, 4 of its
    checksum.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack_from("<Q", head)
            yield file.read(length)
            file.read(4)


def _row(spec: Spec, row: dict) -> dict[str, Value]:
    """What every layout writes alike; −1 is an unknown label."""
    labels = {name: None if row[name][0] == -1 else row[name][0] for name in spec.labels}
    return (
        {"id": row["id"][0].decode()}
        | labels
        | ({"weight": row["weight"][0]} if row.get("weight") else {})
    )


def _arrays(spec: Spec, keys: list[ArrayKey], row: dict) -> tuple[list[int], list[float]]:
    """A row's `ids` and `dense`, whatever its layout."""
    arrays: dict[str, list] = {"ids": [0] * spec.ids_width, "dense": [0.0] * spec.dense_width}
    for key in keys:
        values = row.get(key.key) or []
        padding = [key.padding] * (key.slots.length - len(values))
        arrays[key.array][key.slots.slice] = [*values, *padding]
    return arrays["ids"], arrays["dense"]


def _by_name(spec: Spec, ids: list[int], dense: list[float]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, slots in spec.id_slots.items():
        weights = dense[spec.weight_slots[name].slice] if name in spec.weight_slots else None
        values[name] = _value(spec, name, ids[slots.slice], weights)
    for name, slots in spec.dense_slots.items():
        values[name] = None if math.isnan(dense[slots.start]) else dense[slots.start]
    return values


def _value(spec: Spec, name: str, ids: list[int], weights: list[float] | None) -> Value:
    if spec.features[name].max_length is None:
        return ids[0] or None
    present = [
        (id_, weight) for id_, weight in zip(ids, weights or [None] * len(ids), strict=True) if id_
    ]
    return [id_ if weight is None else (id_, weight) for id_, weight in present]
