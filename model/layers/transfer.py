"""Information transfer from one step of a funnel to the next."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("funnel")
class Transfer(keras.Layer):
    """z = Σ_{u ∈ {p, q}} w_u · h₁(u), w = softmax(<h₂(u), h₃(u)> / √d): attention over what is
    handed on, p, and one's own, q.

    p and q [B, d] → [B, d]; h₁, h₂, h₃ are linear. Xi et al., Modeling the Sequential Dependence
    among Audience Multi-step Conversions with Multi-task Learning in Targeted Display Advertising
    (AITM), KDD 2021.
    """

    def build(self, p_shape: Sequence[int], q_shape: Sequence[int]) -> None:
        width = q_shape[-1]
        for name in ("value", "key", "query"):
            setattr(self, name, keras.layers.Dense(width, use_bias=False, name=name))
            getattr(self, name).build((None, width))

    def call(self, p: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
        u = tf.stack([p, q], 1)  # [B, 2, d]
        scores = tf.reduce_sum(self.key(u) * self.query(u), 2) / u.shape[-1] ** 0.5
        return tf.reduce_sum(tf.nn.softmax(scores)[:, :, tf.newaxis] * self.value(u), 1)
