"""tf.Examples → Arrow by tfx-bsl → arrays, and rows by feature name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import (
    schema_pb2,
)  # before tfx_bsl: both define tf.Example's protos
from tfx_bsl.coders import example_coder

from features.errors import FunnelError
from features.layouts import ArrayKey, array_keys, row_keys
from features.spec import Spec
from funnel.reports.tfrecords import record_batches
from pipeline.output.examples import Rows

Value = str | int | float | list[Any] | None
TYPES = {"int64": schema_pb2.INT, "float": schema_pb2.FLOAT, "bytes": schema_pb2.BYTES}


def first_examples(data: Path, manifest: Mapping[str, Any], count: int) -> list[dict[str, Value]]:
    """The first `count` training examples of a preprocessed directory; see `by_name`."""
    spec = Spec.load(data / "spec.json")
    shards = (data / shard["file"] for shard in manifest["shards"]["train"])
    found: list[dict[str, Value]] = []
    for path in shards:
        batches = read_rows(path, spec, manifest, count - len(found))
        found += by_name(spec, next(batches, None))
        if len(found) == count:
            break
    return found


def read_rows(
    path: Path, spec: Spec, manifest: Mapping[str, Any], size: int = 8192
) -> Iterator[Rows]:
    """Yields the rows of a shard, `size` at a time.

    Args:
        path: The shard.
        spec: The features and labels.
        manifest: Its `layout`, and whether its rows are `weighted`.
        size: Rows of a batch.

    Raises:
        FunnelError: The shard is damaged, or does not hold what the spec says.
    """
    keys = array_keys(manifest["layout"], spec)
    single = row_keys(spec, weighted=manifest["weighted"])
    types = single | {key.key: key.kind for key in keys}
    for records in record_batches(path, size):
        batch = decode(records, path, types)
        lacking = [name for name in types if batch.column(name).null_count]
        if lacking:
            raise FunnelError(
                f"{path}: has examples without the key '{lacking[0]}', which spec.json expects in "
                f"the layout '{manifest['layout']}'; the file belongs to another preprocessing: "
                "put back its spec.json, or run `funnel preprocess` again"
            )
        values = {name: _single(path, batch, name) for name in single}
        yield Rows(
            ids=_array("ids", keys, batch, path, spec.ids_width),
            dense=_array("dense", keys, batch, path, spec.dense_width),
            labels={name: values[name].to_numpy() for name in spec.labels},
            weights=values["weight"].to_numpy() if "weight" in values else None,
            row_ids=values["id"],
        )


def decode(
    records: list[bytes], path: Path, types: Mapping[str, str] | None = None
) -> pa.RecordBatch:
    """Serialized tf.Examples → a column of lists for each key.

    Args:
        records: The tf.Examples.
        path: Their file, which an error names.
        types: int64, float or bytes by key, of the keys to decode; None for all keys.

    Raises:
        FunnelError: A record is not a tf.Example, or a key has values of another type.

    Example:
        >>> from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
        >>> batch = pa.record_batch({"n": pa.array([[1, 2], [3]], pa.large_list(pa.int64()))})
        >>> examples = RecordBatchToExamplesEncoder().encode(batch)
        >>> decode(examples, Path("a.tfrecord")).to_pydict()
        {'n': [[1, 2], [3]]}
    """
    schema = schema_pb2.Schema()
    for name, kind in (types or {}).items():
        schema.feature.add(name=name, type=TYPES[kind])
    try:
        return example_coder.ExamplesToRecordBatchDecoder(
            schema.SerializeToString() if types else None
        ).DecodeBatch(records)
    except RuntimeError as error:
        raise FunnelError(
            f"{path}: its records are not the tf.Examples that were expected ({error}); give a "
            "file that `funnel preprocess` wrote, with its own spec.json"
        ) from None


def _single(path: Path, batch: pa.RecordBatch, name: str) -> pa.Array:
    """[n] the values of a key that has one in each row."""
    column = batch.column(name)
    values = column.flatten()
    if len(values) != len(column) or (column.value_lengths().to_numpy() != 1).any():
        raise FunnelError(
            f"{path}: '{name}' does not have one value in each example, as spec.json expects; "
            "put back the file's own spec.json, or run `funnel preprocess` again"
        )
    return values.cast(pa.string()) if name == "id" else values


def _array(
    array: str, keys: list[ArrayKey], batch: pa.RecordBatch, path: Path, width: int
) -> np.ndarray:
    """[n, width] `ids` or `dense`, from the keys that hold its columns, lists padded."""
    whole = np.zeros((batch.num_rows, width), np.int64 if array == "ids" else np.float32)
    for key in (key for key in keys if key.array == array):
        column = batch.column(key.key)
        values, lengths = column.flatten().to_numpy(), column.value_lengths().to_numpy()
        longest = key.slots.length
        if (lengths > longest).any() or (key.shape is not None and (lengths != longest).any()):
            raise FunnelError(
                f"{path}: '{key.key}' holds up to {lengths.max()} values in an example, and "
                f"spec.json expects {longest}; put back the file's own spec.json, or run "
                "`funnel preprocess` again"
            )
        whole[:, key.slots.slice] = key.padding
        rows = np.repeat(np.arange(len(lengths)), lengths)
        begins = np.cumsum(lengths) - lengths
        whole[rows, key.slots.start + np.arange(len(values)) - np.repeat(begins, lengths)] = values
    return whole


def by_name(spec: Spec, rows: Rows | None) -> list[dict[str, Value]]:
    """Rows as {id, labels, weight, features}.

    A feature is an id or a number, None if it is missing; an unknown label is None. A multi-valued
    feature is the list of the ids present, as (id, weight) if the list is weighted.
    """
    if rows is None:
        return []
    labels = {
        name: [None if value == -1 else value for value in values.tolist()]
        for name, values in rows.labels.items()
    }
    columns: dict[str, list[Any]] = {"id": rows.row_ids.to_pylist()} | labels
    if rows.weights is not None:
        columns["weight"] = rows.weights.tolist()
    for name, slots in spec.id_slots.items():
        ids = rows.ids[:, slots.slice].tolist()
        weights = itertools.repeat(None)
        if name in spec.weight_slots:
            weights = rows.dense[:, spec.weight_slots[name].slice].tolist()
        columns[name] = [_ids(spec, name, *one) for one in zip(ids, weights, strict=False)]
    for name, slots in spec.dense_slots.items():
        numbers = rows.dense[:, slots.start].tolist()
        columns[name] = [None if math.isnan(number) else number for number in numbers]
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _ids(spec: Spec, name: str, ids: list[int], weights: list[float] | None) -> Value:
    if not spec.embedded[name].is_list:
        return ids[0] or None
    if weights is None:
        return [id_ for id_ in ids if id_]
    return [(id_, weight) for id_, weight in zip(ids, weights, strict=True) if id_]
