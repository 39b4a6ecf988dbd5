"""The spec applied to TensorFlow tensors: what the serving graph does to raw columns, and what every graph does to numbers.

`features.arrays` computes the same on Arrow columns; a graph has no null, so the empty string and NaN stand for missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from features.declarations import Categorical, Cross
from features.spec import Spec, input_name

DTYPES = {"text": tf.string, "texts": tf.string, "integer": tf.int64, "number": tf.float32}


def serving_inputs(spec: Spec) -> dict[str, tf.TensorSpec]:
    """The raw columns of a request, by their names in it: [B], or [B, any length] for lists, padded with ""."""
    return {
        input_name(column): tf.TensorSpec([None, None] if raw_type == "texts" else [None], DTYPES[raw_type], name=input_name(column))
        for column, raw_type in spec.columns.items()
    }


def example_inputs(spec: Spec) -> dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature]:
    """How a serialised tf.Example of raw columns is parsed. An absent text or number is missing."""
    single = {"text": tf.io.FixedLenFeature([], tf.string, ""), "number": tf.io.FixedLenFeature([], tf.float32, float("nan"))}
    return {column: single.get(raw_type) or tf.io.RaggedFeature(DTYPES[raw_type]) for column, raw_type in spec.columns.items()}


def encode(spec: Spec, columns: Mapping[str, tf.Tensor | tf.RaggedTensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Raw columns by name, [B], [B, L] or ragged → ids [B, S] int64 and dense [B, D] float32."""
    rows = _rows(next(iter(columns.values())))
    ids = [tf.zeros([rows, 0], tf.int64)]
    for feature in spec.embedded.values():
        texts = _cross_texts(spec, feature, columns) if isinstance(feature, Cross) else _texts(feature, columns[feature.column])
        ids.append(_fit(bucket_ids(texts, feature.buckets), feature.slots))
    dense = [tf.zeros([rows, 0], tf.float32)]
    dense += [tf.cast(columns[feature.column], tf.float32)[:, tf.newaxis] for feature in spec.numeric.values()]
    return tf.concat(ids, 1), tf.concat(dense, 1)


def bucket_ids(texts: tf.Tensor, buckets: int) -> tf.Tensor:
    """id = 0 where the text is empty, else 1 + fingerprint64(utf8) mod (buckets − 1), of any shape."""
    # The strong hash is another function: fast is FarmHash, as in features.hashing.
    hashed = 1 + tf.strings.to_hash_bucket_fast(texts, buckets - 1)
    return tf.where(tf.equal(texts, ""), tf.zeros_like(hashed), hashed)


def normalise(spec: Spec, moments: Mapping[str, tuple[float, float]], dense: tf.Tensor) -> tf.Tensor:
    """dense [B, D] as written → [B, D] as the network reads it: transformed, (x − mean) / deviation, missing → 0.

    `moments` gives (mean, deviation) of the transformed values by feature; features that do not standardise need none.
    """
    columns = [tf.zeros_like(dense[:, :0])]
    for name, feature in spec.numeric.items():
        x = dense[:, spec.dense_slots[name].slice]
        if feature.transform == "log1p":
            x = tf.math.log1p(tf.where(x < 0, tf.zeros_like(x), x))  # keeps NaN, as maximum might not
        if feature.standardize:
            mean, deviation = moments[name]
            x = (x - mean) / (deviation or 1.0)
        columns.append(tf.where(tf.math.is_nan(x), tf.zeros_like(x), x))
    return tf.concat(columns, 1)


def _rows(column: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    return column.nrows() if isinstance(column, tf.RaggedTensor) else tf.shape(column)[0]


def _texts(feature: Categorical, column: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    """A categorical column as strings [B, at most slots], padded with ""."""
    if feature.separator:
        column = tf.strings.split(column, feature.separator)
    if column.dtype != tf.string:
        column = tf.ragged.map_flat_values(tf.strings.as_string, column)
    if isinstance(column, tf.RaggedTensor):
        column = column.to_tensor("")
    texts = column if column.shape.rank == 2 else column[:, tf.newaxis]
    return texts[:, : feature.slots]


def _fit(ids: tf.Tensor, slots: int) -> tf.Tensor:
    """[B, any] → [B, slots], cut or padded with 0."""
    ids = ids[:, :slots]
    ids = tf.pad(ids, [[0, 0], [0, slots - tf.shape(ids)[1]]])
    return tf.ensure_shape(ids, [None, slots])


def _cross_texts(spec: Spec, cross: Cross, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The combinations of a cross's parts as features.arrays joins them: [B, product of the parts' lengths], missing ones last."""
    joined = None
    for name in cross.of:
        feature = spec.features.get(name)
        part = _texts(feature, columns[feature.column]) if isinstance(feature, Categorical) else columns[name][:, tf.newaxis]
        text = tf.strings.join([tf.strings.as_string(tf.strings.length(part)), part], ":")
        text = tf.where(tf.equal(part, ""), "", text)
        joined = text if joined is None else _pairs(joined, text)
    order = tf.argsort(tf.cast(tf.equal(joined, ""), tf.int32), axis=1, stable=True)
    return tf.gather(joined, order, batch_dims=1)


def _pairs(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """[B, L], [B, R] → [B, L·R], each left value with each right one, "" where either is missing."""
    shape = [tf.shape(left)[0], tf.shape(left)[1], tf.shape(right)[1]]
    left = tf.broadcast_to(left[:, :, tf.newaxis], shape)  # strings.join does not broadcast
    right = tf.broadcast_to(right[:, tf.newaxis, :], shape)
    pairs = tf.where(tf.equal(left, "") | tf.equal(right, ""), "", tf.strings.join([left, right]))
    return tf.reshape(pairs, [shape[0], shape[1] * shape[2]])
