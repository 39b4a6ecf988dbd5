"""The spec applied to tensors: encoding in the serving graph, look-ups and scaling in every graph.

`features.arrays` computes the same on Arrow columns. A graph has no null: the empty string and NaN
stand for missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from features.declarations import input_name
from features.fitted import Fitted
from features.kinds import tensors
from features.kinds.base import FeatureKind, RawType, Weighted
from features.spec import Spec

Column: TypeAlias = tf.Tensor | tf.RaggedTensor
Vocabularies = Mapping[
    str, Callable[[tf.Tensor], tf.Tensor]
]  # by the feature that owns one: ids as written → rows
DTYPES = {
    "text": tf.string,
    "texts": tf.string,
    "integer": tf.int64,
    "time": tf.int64,
    "number": tf.float32,
    "numbers": tf.float32,
}
LISTS = ("texts", "numbers")


def serving_inputs(spec: Spec) -> dict[str, tf.TensorSpec]:
    """The raw columns of a request, by their names in it: [B], or [B, any length] for lists, padded
    with "" or NaN.
    """

    def tensor(name: str, raw_type: RawType) -> tf.TensorSpec:
        return tf.TensorSpec(
            [None, None] if raw_type in LISTS else [None], DTYPES[raw_type], name=name
        )

    return {
        input_name(column): tensor(input_name(column), raw_type)
        for column, raw_type in spec.request_columns.items()
    }


def example_inputs(spec: Spec) -> dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature]:
    """How a serialized tf.Example of raw columns is parsed. An absent text or number is missing."""
    single = {
        "text": tf.io.FixedLenFeature([], tf.string, ""),
        "number": tf.io.FixedLenFeature([], tf.float32, float("nan")),
    }
    return {
        column: single.get(raw_type) or tf.io.RaggedFeature(DTYPES[raw_type])
        for column, raw_type in spec.request_columns.items()
    }


def encode(spec: Spec, columns: Mapping[str, Column]) -> tuple[tf.Tensor, tf.Tensor]:
    """Raw columns of a request by name, [B], [B, L] or ragged → ids [B, S] int64 and dense [B, D]
    float32.
    """
    rows = _rows(next(iter(columns.values())))
    columns = dict(columns) | {
        c: tf.fill([rows], tf.constant(v, DTYPES[spec.columns[c]])) for c, v in spec.served.items()
    }
    ids = [tf.zeros([rows, 0], tf.int64)]
    ids += [_ids(spec, feature, columns) for feature in spec.id_features.values()]
    dense = [tf.zeros([rows, 0], tf.float32)]
    dense += [
        spec.features[name].number_tensors(tf, columns)[:, tf.newaxis] for name in spec.dense_slots
    ]
    dense += [
        _weights(spec.weighted[name], slots.length, columns)
        for name, slots in spec.weight_slots.items()
    ]
    return tf.concat(ids, 1), tf.concat(dense, 1)


def _ids(spec: Spec, feature: FeatureKind, columns: Mapping[str, Column]) -> tf.Tensor:
    """The ids of one feature as they are written, [B, slots]."""
    values = feature.encode_tensors(tf, columns, spec.features)
    ids = bucket_ids(values, feature.hash_space) if values.dtype == tf.string else values
    return tensors.fit(tf, ids, feature.written_slots, 0)


def _weights(weighted: Weighted, slots: int, columns: Mapping[str, Column]) -> tf.Tensor:
    """The weights of a list's values [B, slots]; a missing one counts as 1."""
    weights = columns[weighted.weights]
    if weighted.separator:
        texts = tf.strings.split(weights, weighted.separator)
        weights = tf.ragged.map_flat_values(
            lambda t: tf.strings.to_number(tf.where(tf.equal(t, ""), "1", t)), texts
        )
    if isinstance(weights, tf.RaggedTensor):
        weights = weights.to_tensor(1.0)
    known = tf.where(tf.math.is_nan(weights), 1.0, weights)
    return tensors.fit(tf, known, slots, 1.0)


def bucket_ids(texts: tf.Tensor, space: int) -> tf.Tensor:
    """id = 0 if the text is empty, else 1 + fingerprint64(utf8) mod (space − 1), of any shape."""
    # The strong hash is another function: fast is FarmHash, as in features.hashing.
    hashed = 1 + tf.strings.to_hash_bucket_fast(texts, space - 1)
    return tf.where(tf.equal(texts, ""), tf.zeros_like(hashed), hashed)


def table_rows(
    spec: Spec,
    fitted: Fitted,
    ids: tf.Tensor,
    dense: tf.Tensor,
    vocabularies: Vocabularies | None = None,
) -> tf.Tensor:
    """ids [B, S] and dense [B, D] as written → [B, E] int64, rows of the embedding tables, in the
    order of spec.embedded_slots.

    Hashed ids are rows already. Ids of a vocabulary are looked up in it, and numbers of bucketized
    features in their boundaries.

    Args:
        vocabularies: Look up ids; by default constants of the graph do.
    """
    vocabularies = constant_vocabularies(fitted) if vocabularies is None else vocabularies
    looked_up = [name for name in spec.id_slots if fitted.vocabulary_of(spec, name) is not None]
    if not looked_up and not spec.bucketized:
        return ids
    columns = []
    for name, slots in spec.id_slots.items():
        own = ids[:, slots.slice]
        columns.append(vocabularies[spec.owner(name)](own) if name in looked_up else own)
    for name in spec.bucketized:
        x = dense[:, spec.dense_slots[name].start]
        row = 1 + tf.searchsorted(
            tf.constant(fitted.boundaries_of(spec, name), tf.float32),
            x,
            side="right",
            out_type=tf.int64,
        )
        columns.append(tf.where(tf.math.is_nan(x), tf.zeros_like(row), row)[:, tf.newaxis])
    return tf.concat(columns, 1)


def constant_vocabularies(fitted: Fitted) -> Vocabularies:
    """Vocabularies as constants of the graph that looks ids up."""
    return {
        name: functools.partial(look_up, np.array(known, np.int64))
        for name, known in fitted.vocabularies.items()
    }


def look_up(vocabulary: np.ndarray, ids: tf.Tensor) -> tf.Tensor:
    """0 stays 0, the vocabulary's [V] values become 2 … V + 1, all others 1."""
    if not len(vocabulary):
        return tf.minimum(ids, 1)
    known = tf.constant(vocabulary)
    position = tf.reshape(
        tf.searchsorted(known, tf.reshape(ids, [-1]), out_type=tf.int64), tf.shape(ids)
    )
    found = tf.equal(tf.gather(known, tf.minimum(position, len(vocabulary) - 1)), ids)
    return tf.where(tf.equal(ids, 0), ids, tf.where(found, position + 2, 1))


def weights(spec: Spec, dense: tf.Tensor) -> dict[str, tf.Tensor]:
    """The weights of each weighted list's values: {feature: [B, slots]}."""
    return {name: dense[:, slots.slice] for name, slots in spec.weight_slots.items()}


def normalize(spec: Spec, fitted: Fitted, dense: tf.Tensor) -> tf.Tensor:
    """dense [B, D] as written → [B, numeric features]: `missing`, clip, transform and scale as
    features.kinds.numeric.Numeric describes them.
    """
    numeric = spec.numeric.values()
    x = dense[:, : len(numeric)]
    if not numeric:
        return x
    nothing = [np.nan if f.missing is None else f.missing for f in numeric]
    x = tf.where(tf.math.is_nan(x), tf.constant(nothing, tf.float32), x)
    low, high = np.transpose([f.clip or (-np.inf, np.inf) for f in numeric]).astype(np.float32)
    x = tf.where(x < low, low, tf.where(x > high, high, x))  # keeps NaN, as maximum might not
    logs = [f.transform == "log1p" for f in numeric]
    if any(logs):
        x = tf.where(logs, tf.math.log1p(tf.where(x < 0, tf.zeros_like(x), x)), x)
    shift, divisor = np.transpose(
        [_scaling(fitted, name, f.scale) for name, f in spec.numeric.items()]
    ).astype(np.float32)
    x = (x - shift) / divisor
    ranged = [f.scale == "minmax" for f in numeric]
    if any(ranged):
        x = tf.where(ranged, tf.where(x < 0, 0.0, tf.where(x > 1, 1.0, x)), x)
    return tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)


def _scaling(fitted: Fitted, name: str, scale: str) -> tuple[float, float]:
    """(shift, divisor) of (x − shift) / divisor; the divisor of a constant number is 1."""
    if scale == "none":
        return 0.0, 1.0
    if scale == "standardize":
        mean, std = fitted.moments[name]
        return mean, std or 1.0
    low, high = fitted.ranges[name]
    return low, (high - low) or 1.0


def _rows(column: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    return column.nrows() if isinstance(column, tf.RaggedTensor) else tf.shape(column)[0]
