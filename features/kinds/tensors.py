"""Helpers on tensors for feature kinds. The caller passes TensorFlow, which this module does not
import.
"""

from __future__ import annotations

from typing import Any

MISSING_TIME = -(2**63)  # a graph has no null


def fit(tf: Any, values: Any, slots: int, padding: float) -> Any:
    """[B, any] → [B, slots], cut or padded."""
    values = values[:, :slots]
    values = tf.pad(
        values,
        [[0, 0], [0, slots - tf.shape(values)[1]]],
        constant_values=tf.cast(padding, values.dtype),
    )
    return tf.ensure_shape(values, [None, slots])


def single(tf: Any, column: Any, missing: int) -> Any:
    """Integers [B] or ragged with none or one a row → [B, 1]."""
    if isinstance(column, tf.RaggedTensor):
        return fit(tf, column.to_tensor(missing), 1, missing)
    return column[:, tf.newaxis]


def pairs(tf: Any, left: Any, right: Any) -> Any:
    """Strings [B, L], [B, R] → [B, L·R], each left one with each right one, "" where either is
    missing.
    """
    shape = [tf.shape(left)[0], tf.shape(left)[1], tf.shape(right)[1]]
    left = tf.broadcast_to(left[:, :, tf.newaxis], shape)  # strings.join does not broadcast
    right = tf.broadcast_to(right[:, tf.newaxis, :], shape)
    joined = tf.where(tf.equal(left, "") | tf.equal(right, ""), "", tf.strings.join([left, right]))
    return tf.reshape(joined, [shape[0], shape[1] * shape[2]])
