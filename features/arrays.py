"""The spec applied to Arrow columns: the pipeline's side of the contract. `features.graph` computes the same in TensorFlow.

Columns come in one of the spec's raw types: text → string, integer → int64, number → float64, texts → list<string>;
null means missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.declarations import Categorical, Cross, Numeric
from features.hashing import bucket_ids
from features.spec import Spec

ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "texts": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class Encoded:
    """ids [n, S] int32, 0 where missing or padded; dense [n, D] float32, NaN where missing. Slots are the spec's."""

    ids: np.ndarray
    dense: np.ndarray


def encode(spec: Spec, columns: Mapping[str, pa.Array]) -> Encoded:
    """Turns raw columns of n rows, by name, into ids and dense numbers."""
    rows = len(next(iter(columns.values())))
    ids = np.zeros((rows, spec.ids_width), np.int32)
    dense = np.full((rows, spec.dense_width), np.nan, np.float32)
    for name, feature in spec.embedded.items():
        slots = spec.id_slots[name]
        values = cross_texts(spec, feature, columns) if isinstance(feature, Cross) else category_texts(feature, columns[feature.column])
        _fill(ids[:, slots.slice], values, feature.buckets)
    for name, feature in spec.numeric.items():
        dense[:, spec.dense_slots[name].start] = columns[feature.column].to_numpy(zero_copy_only=False)
    return Encoded(ids, dense)


def category_texts(feature: Categorical, column: pa.Array) -> pa.Array:
    """A categorical column as string, or as list<string> of at most `max_length` when multi-valued; integers as decimal text."""
    if feature.separator:
        column = pc.split_pattern(column, feature.separator)
    if not pa.types.is_list(column.type):
        return column.cast(pa.string())
    return pc.list_slice(column, 0, feature.max_length)


def cross_texts(spec: Spec, cross: Cross, columns: Mapping[str, pa.Array]) -> pa.Array:
    """The combinations of a cross's parts, each "length:value" of every part in turn: [n] list<string>."""
    parts = [_present(_part(spec, name, columns)) for name in cross.of]
    rows, positions = _product([lengths for _, lengths in parts])
    texts = []
    for (values, lengths), place in zip(parts, positions, strict=True):
        values = pc.binary_join_element_wise(pc.binary_length(values).cast(pa.string()), values, ":")
        texts.append(values.take(pa.array(_starts(lengths)[rows] + place)))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(parts[0][1])))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pc.binary_join_element_wise(*texts, ""))


def transform(feature: Numeric, values: np.ndarray) -> np.ndarray:
    """A number before standardising: itself, or log1p(max(x, 0)). NaN stays NaN."""
    return np.log1p(np.maximum(values, 0)) if feature.transform == "log1p" else values


def _fill(out: np.ndarray, values: pa.Array, buckets: int) -> None:
    """Writes the ids of texts, or of lists of texts cut to out's width, into out [n, slots]."""
    if not pa.types.is_list(values.type):
        out[:, 0] = bucket_ids(values, buckets)
        return
    lengths = _lengths(values)
    rows, place = np.repeat(np.arange(len(values)), lengths), _counter(lengths)
    kept = place < out.shape[1]
    out[rows[kept], place[kept]] = bucket_ids(values.flatten(), buckets)[kept]


def _part(spec: Spec, name: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    feature = spec.features.get(name)
    return category_texts(feature, columns[feature.column]) if isinstance(feature, Categorical) else columns[name]


def _present(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The values that are not missing, flat, and how many each row has; a single value is a list of one."""
    many = pa.types.is_list(values.type)
    lengths = _lengths(values) if many else np.ones(len(values), np.int64)
    flat = values.flatten() if many else values
    there = pc.fill_null(pc.not_equal(flat, ""), False)
    rows = np.repeat(np.arange(len(values)), lengths)[there.to_numpy(zero_copy_only=False)]
    return flat.filter(there), np.bincount(rows, minlength=len(values))


def _product(lengths: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """For each combination, in order, its row and the place of each part's value: the last part varies fastest."""
    counts = np.prod(lengths, axis=0)
    rows, rest = np.repeat(np.arange(len(counts)), counts), _counter(counts)
    positions = []
    for part in reversed(lengths):
        positions.append(rest % part[rows])
        rest = rest // part[rows]
    return rows, positions[::-1]


def _lengths(lists: pa.Array) -> np.ndarray:
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)


def _starts(lengths: np.ndarray) -> np.ndarray:
    """Where each list starts in the flat values: [2, 3] → [0, 2]."""
    return np.cumsum(lengths) - lengths


def _counter(lengths: np.ndarray) -> np.ndarray:
    """[2, 3] → [0, 1, 0, 1, 2]."""
    return np.arange(lengths.sum()) - np.repeat(_starts(lengths), lengths)
