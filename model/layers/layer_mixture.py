"""A learned mixture of the layers of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("funnel")
class LayerMixture(keras.Layer):
    """h_k = Σ_l β_{k,l} h_{k,l}: the outputs of the layers of K networks, mixed by learned weights
    β [K, L]; [B, K, L, U] → [B, K, U].

    β starts with `last_share` on the last layer and the rest evenly spread. Ruder et al., Latent
    Multi-task Architecture Learning, AAAI 2019, sec. 2.
    """

    def __init__(self, *, last_share: float = 0.9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last_share = last_share

    def build(self, shape: Sequence[int]) -> None:
        _, count, layers, _ = shape

        def start(wanted: Sequence[int], dtype: str | None = None) -> tf.Tensor:
            row = (
                [(1 - self.last_share) / (layers - 1)] * (layers - 1) + [self.last_share]
                if layers > 1
                else [1.0]
            )
            return tf.broadcast_to(tf.constant(row, dtype), wanted)

        self.beta = self.add_weight(name="beta", shape=(count, layers), initializer=start)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.einsum("kl,bklu->bku", self.beta, x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"last_share": self.last_share}
