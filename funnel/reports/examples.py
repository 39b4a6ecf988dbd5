"""The first training examples of a preprocessed directory, by feature name."""

from __future__ import annotations

import gzip
import itertools
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.layouts import ArrayKey, array_keys
from features.spec import Spec

Value = str | int | float | list[Any] | None


def first_examples(data: Path, manifest: dict[str, Any], count: int) -> list[dict[str, Value]]:
    """The first `count` examples as {id, labels, weight, features}.

    A feature is an id or a number, None if it is missing. A multi-valued one is the list of the ids
    present, as (id, weight) if the list is weighted.
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


def _row(spec: Spec, row: dict[str, Any]) -> dict[str, Value]:
    """The keys that all layouts have; −1 is an unknown label."""
    labels = {name: None if row[name][0] == -1 else row[name][0] for name in spec.labels}
    return (
        {"id": row["id"][0].decode()}
        | labels
        | ({"weight": row["weight"][0]} if row.get("weight") else {})
    )


def _arrays(spec: Spec, keys: list[ArrayKey], row: dict[str, Any]) -> tuple[list[int], list[float]]:
    """A row's `ids` and `dense`, whatever its layout."""
    arrays: dict[str, list[Any]] = {"ids": [0] * spec.ids_width, "dense": [0.0] * spec.dense_width}
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
    if not spec.embedded[name].is_list:
        return ids[0] or None
    if weights is None:
        return [id_ for id_ in ids if id_]
    return [(id_, weight) for id_, weight in zip(ids, weights, strict=True) if id_]
