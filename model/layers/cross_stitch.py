"""Learned linear combinations of the activations of several networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("funnel")
class CrossStitch(keras.Layer):
    """x̃_k = Σ_j α_kj x_j: the activations of K networks, combined by a learned matrix α [K, K];
    [B, K, U] → [B, K, U].

    α starts with `own_share` on its diagonal and (1 − own_share) / (K − 1) elsewhere: a convex
    combination, so that activations keep their order of magnitude. With `per_unit` every unit has
    an α of its own, as every channel has in the paper's networks, [K, K, U]. Misra et al.,
    Cross-stitch Networks for Multi-task Learning, CVPR 2016, eq. 1.
    """

    def __init__(self, *, own_share: float = 0.9, per_unit: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.own_share, self.per_unit = own_share, per_unit

    def build(self, shape: Sequence[int]) -> None:
        _, count, units = shape

        def start(wanted: Sequence[int], dtype: str | None = None) -> tf.Tensor:
            own = tf.eye(count, dtype=dtype)
            alpha = (
                own * self.own_share + (1 - own) * (1 - self.own_share) / (count - 1)
                if count > 1
                else own
            )
            return tf.broadcast_to(alpha[:, :, tf.newaxis], wanted) if self.per_unit else alpha

        self.alpha = self.add_weight(
            name="alpha",
            shape=(count, count, units) if self.per_unit else (count, count),
            initializer=start,
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.einsum("kju,bju->bku" if self.per_unit else "kj,bju->bku", self.alpha, x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"own_share": self.own_share, "per_unit": self.per_unit}
