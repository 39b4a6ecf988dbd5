"""The gate of a mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.mlp import MLP
from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class Gate(Network):
    """g(x) = softmax(W h(x)), h hidden layers of `units` or the identity; returns (Σ_i g(x)_i · f_i, g(x)).

    x [B, I], experts [B, n, H] → [B, H] and [B, n]. See Network for the options, which are those of the hidden layers.
    """

    def __init__(self, count: int, units: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.count = count
        self.hidden = MLP(units, **self.options, name="hidden")
        self.dense = keras.layers.Dense(count, "softmax", use_bias=False, kernel_regularizer=self.regularizer, name="softmax")

    def build(self, x_shape: Sequence[int], experts_shape: Sequence[int]) -> None:
        self.hidden.build(x_shape)
        self.dense.build((None, self.units[-1] if self.units else x_shape[-1]))

    def call(self, x: tf.Tensor, experts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weights = self.dense(self.hidden(x))
        return tf.reduce_sum(weights[:, :, tf.newaxis] * experts, 1), weights

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count}
