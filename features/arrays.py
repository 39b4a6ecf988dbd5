"""The spec applied to Arrow columns, as the pipeline does. `features.graph` computes the same on
tensors.

Null means missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.hashing import Hashed, hash_texts
from features.kinds import lists
from features.kinds.base import Number, Weighted
from features.spec import Spec

ARROW_TYPES: dict[str, pa.DataType] = {  # by raw type
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "time": pa.int64(),
    "texts": pa.list_(pa.string()),
    "numbers": pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Encoded:
    """Encoded rows, in the slots of the spec.

    Args:
        ids: [n, S] int32, 0 where missing or padded.
        dense: [n, D] float32, NaN where missing.
        hashed: By hashed feature its distinct values.
    """

    ids: np.ndarray
    dense: np.ndarray
    hashed: dict[str, Hashed]


def encode(spec: Spec, columns: Mapping[str, pa.Array]) -> Encoded:
    """Turns raw columns into ids and numbers.

    Args:
        spec: The declared features.
        columns: `spec.columns` by name, [n] each, in the type that ARROW_TYPES has for them.

    Example:
        >>> spec = Spec.parse(
        ...     {
        ...         "features": {"hour": {"kind": "time", "column": "ts", "part": "hour"}},
        ...         "labels": {"click": {"column": "clicked"}},
        ...         "tasks": {"ctr": {"label": "click"}},
        ...     }
        ... )
        >>> encode(spec, {"ts": pa.array([0, 3600, None])}).ids.tolist()
        [[1], [2], [0]]
    """
    rows = len(next(iter(columns.values())))
    ids = np.zeros((rows, spec.ids_width), np.int32)
    dense = np.full((rows, spec.dense_width), np.nan, np.float32)
    hashed: dict[str, Hashed] = {}
    for name, feature in spec.id_features.items():
        out = ids[:, spec.id_slots[name].slice]
        values = feature.encode_arrow(columns, spec.features)
        if isinstance(values, np.ndarray):
            out[:] = values
        else:
            hashed[name] = _fill(out, values, feature.hash_space)
    for name, slots in spec.dense_slots.items():
        dense[:, slots.start] = spec.features[name].number_arrow(columns)
    for name, slots in spec.weight_slots.items():
        _fill_weights(dense[:, slots.slice], spec.weighted[name], columns)
    return Encoded(ids, dense, hashed)


def served(spec: Spec, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns as serving sees them: a column that requests do not send holds the value that the
    serving graph feeds.
    """
    rows = len(next(iter(columns.values())))
    fed = {
        column: pa.array([value] * rows, ARROW_TYPES[spec.columns[column]])
        for column, value in spec.served.items()
    }
    return dict(columns) | fed


def transform(number: Number, values: np.ndarray) -> np.ndarray:
    """A number before scaling: `missing` replaces NaN, then the value is clipped and transformed.
    NaN otherwise stays NaN.
    """
    if number.missing is not None:
        values = np.where(np.isnan(values), number.missing, values)
    if number.clip:
        values = np.clip(values, *number.clip)
    return np.log1p(np.maximum(values, 0)) if number.transform == "log1p" else values


def _fill(out: np.ndarray, values: pa.Array, space: int) -> Hashed:
    """Writes the ids of texts, or of lists of texts cut to out's width, into out [n, slots]."""
    if not pa.types.is_list(values.type):
        hashed = hash_texts(values)
        out[:, 0] = hashed.ids(space)
        return hashed
    hashed = hash_texts(values.flatten())
    lists.scatter(out, lists.lengths(values), hashed.ids(space))
    return hashed


def _fill_weights(out: np.ndarray, weighted: Weighted, columns: Mapping[str, pa.Array]) -> None:
    """Writes the weights of a list's values into out [n, slots]; a missing one counts as 1."""
    weights = columns[weighted.weights]
    if weighted.separator:
        texts = pc.split_pattern(weights, weighted.separator)
        flat = texts.flatten()
        numbers = pc.if_else(pc.equal(flat, ""), None, flat).cast(pa.float64())
        weights = lists.from_lengths(lists.lengths(texts), numbers)
    out[:] = 1
    lists.scatter(out, lists.lengths(weights), pc.fill_null(weights.flatten(), 1.0).to_numpy())
