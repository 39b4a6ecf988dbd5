"""The spec applied to Arrow columns: the pipeline's side of the contract. `features.graph` computes
the same in TensorFlow.

Columns come in one of the spec's raw types: text → string, integer → int64, number → float64, texts
→ list<string>; null means missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.declarations import Categorical, Cross, Numeric, Sequence, Time
from features.hashing import Hashed, hash_texts
from features.spec import Spec

ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "time": pa.int64(),
    "texts": pa.list_(pa.string()),
    "numbers": pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Encoded:
    """ids [n, S] int32, 0 where missing or padded; dense [n, D] float32, NaN where missing. Slots
    are the spec's.

    `hashed` holds, by hashed feature, its distinct values.
    """

    ids: np.ndarray
    dense: np.ndarray
    hashed: dict[str, Hashed]


def encode(spec: Spec, columns: Mapping[str, pa.Array]) -> Encoded:
    """Turns raw columns of n rows, by name, into ids and dense numbers."""
    rows = len(next(iter(columns.values())))
    ids = np.zeros((rows, spec.ids_width), np.int32)
    dense = np.full((rows, spec.dense_width), np.nan, np.float32)
    hashed: dict[str, Hashed] = {}
    for name, feature in spec.coded.items():
        out = ids[:, spec.id_slots[name].slice]
        if isinstance(feature, Time):
            out[:, 0] = _time_ids(feature, columns[feature.column])
        elif getattr(feature, "identity", False):
            out[:, 0] = _identity_ids(columns[feature.column])
        else:
            texts = (
                cross_texts(spec, feature, columns)
                if isinstance(feature, Cross)
                else category_texts(feature, columns[feature.column])
            )
            hashed[name] = _fill(out, texts, feature.hash_space)
    for name, slots in spec.dense_slots.items():
        dense[:, slots.start] = columns[spec.features[name].column].to_numpy(zero_copy_only=False)
    for name, slots in spec.weight_slots.items():
        feature = spec.features[name]
        _fill_weights(dense[:, slots.slice], feature, columns[feature.weights])
    return Encoded(ids, dense, hashed)


def served(spec: Spec, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns as serving sees them: those that a request does not send hold the value that the
    graph feeds.
    """
    rows = len(next(iter(columns.values())))
    fed = {
        column: pa.array([value] * rows, ARROW_TYPES[spec.columns[column]])
        for column, value in spec.served.items()
    }
    return dict(columns) | fed


def category_texts(feature: Categorical | Sequence, column: pa.Array) -> pa.Array:
    """A column as string, or as list<string> of at most `max_length` when multi-valued; integers as
    decimal text.

    A sequence keeps its last values, a multi-valued categorical its first.
    """
    if feature.separator:
        column = pc.split_pattern(column, feature.separator)
    if not pa.types.is_list(column.type):
        return column.cast(pa.string())
    return (
        _last(column, feature.max_length)
        if isinstance(feature, Sequence)
        else pc.list_slice(column, 0, feature.max_length)
    )


def _last(lists: pa.Array, count: int) -> pa.Array:
    """The last `count` values of each list that are not missing."""
    values, lengths = _present(lists)
    kept = np.minimum(lengths, count)
    places = np.repeat(_starts(lengths) + lengths - kept, kept) + _counter(kept)
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(places)))


def cross_texts(spec: Spec, cross: Cross, columns: Mapping[str, pa.Array]) -> pa.Array:
    """The combinations of a cross's parts, each "length:value" of every part in turn: [n]
    list<string>.
    """
    parts = [_present(_part(spec, name, columns)) for name in cross.of]
    rows, positions = _product([lengths for _, lengths in parts])
    texts = []
    for (values, lengths), place in zip(parts, positions, strict=True):
        values = pc.binary_join_element_wise(
            pc.binary_length(values).cast(pa.string()), values, ":"
        )
        texts.append(values.take(pa.array(_starts(lengths)[rows] + place)))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(parts[0][1])))])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pc.binary_join_element_wise(*texts, "")
    )


def transform(feature: Numeric, values: np.ndarray) -> np.ndarray:
    """A number before scaling: `missing` in place of NaN, cut to `clip`, then itself or
    log1p(max(x, 0)). NaN stays NaN otherwise.
    """
    if feature.missing is not None:
        values = np.where(np.isnan(values), feature.missing, values)
    if feature.clip:
        values = np.clip(values, *feature.clip)
    return np.log1p(np.maximum(values, 0)) if feature.transform == "log1p" else values


def _time_ids(feature: Time, seconds: pa.Array) -> np.ndarray:
    """1 + the hour or the weekday, 0 where missing. 1970-01-01 was a Thursday."""
    hours = pc.fill_null(seconds, 0).to_numpy() // 3600 + feature.utc_offset
    part = hours % 24 if feature.part == "hour" else (hours // 24 + 3) % 7
    return np.where(seconds.is_null().to_numpy(zero_copy_only=False), 0, 1 + part)


def _identity_ids(integers: pa.Array) -> np.ndarray:
    return pc.fill_null(integers, -1).to_numpy() + 1


def _fill(out: np.ndarray, values: pa.Array, space: int) -> Hashed:
    """Writes the ids of texts, or of lists of texts cut to out's width, into out [n, slots]."""
    if not pa.types.is_list(values.type):
        hashed = hash_texts(values)
        out[:, 0] = hashed.ids(space)
        return hashed
    hashed = hash_texts(values.flatten())
    _scatter(out, values, hashed.ids(space))
    return hashed


def _fill_weights(out: np.ndarray, feature: Categorical, weights: pa.Array) -> None:
    """Writes the weights of a list's values into out [n, slots]; one that is missing counts as 1."""
    if feature.separator:
        pieces = pc.split_pattern(weights, feature.separator)
        numbers = pc.if_else(pc.equal(pieces.flatten(), ""), None, pieces.flatten()).cast(
            pa.float64()
        )
        lengths = _lengths(pieces)
        weights = pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), numbers
        )
    out[:] = 1
    _scatter(out, weights, pc.fill_null(weights.flatten(), 1.0).to_numpy())


def _scatter(out: np.ndarray, lists: pa.Array, flat: np.ndarray) -> None:
    """Puts the flat values of [n] lists into out [n, slots], those beyond its width left out."""
    lengths = _lengths(lists)
    rows, place = np.repeat(np.arange(len(lists)), lengths), _counter(lengths)
    kept = place < out.shape[1]
    out[rows[kept], place[kept]] = flat[kept]


def _part(spec: Spec, name: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    feature = spec.features.get(name)
    return (
        category_texts(feature, columns[feature.column])
        if isinstance(feature, Categorical)
        else columns[name]
    )


def _present(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The values that are not missing, flat, and how many each row has; a single value is a list of
    one.
    """
    many = pa.types.is_list(values.type)
    lengths = _lengths(values) if many else np.ones(len(values), np.int64)
    flat = values.flatten() if many else values
    there = pc.fill_null(pc.not_equal(flat, ""), False)
    rows = np.repeat(np.arange(len(values)), lengths)[there.to_numpy(zero_copy_only=False)]
    return flat.filter(there), np.bincount(rows, minlength=len(values))


def _product(lengths: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """For each combination, in order, its row and the place of each part's value: the last part
    varies fastest.
    """
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
