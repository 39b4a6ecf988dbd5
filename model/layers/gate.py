"""The gate of a mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.mlp import MLP
from model.layers.network import Network

Mixed = tuple[tf.Tensor, tf.Tensor]  # a mixture [B, H] and its weights [B, n]


@keras.saving.register_keras_serializable("funnel")
class Gate(Network):
    """g(x) = softmax(W h(x)), h hidden layers of `units` or the identity; returns (Σ_i g(x)_i ·
    f_i, g(x)).

    x [B, I], experts [B, n, H] → [B, H] and [B, n]. See Network for the options, which are those of
    the hidden layers.
    """

    def __init__(self, count: int, units: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.count = count
        self.hidden = MLP(units, **self.options, name="hidden")
        self.dense = keras.layers.Dense(
            count, use_bias=False, kernel_regularizer=self.regularizer, name="softmax"
        )

    def build(self, x_shape: Sequence[int], experts_shape: Sequence[int]) -> None:
        self.hidden.build(x_shape)
        self.dense.build((None, self.units[-1] if self.units else x_shape[-1]))

    def call(self, x: tf.Tensor, experts: tf.Tensor) -> Mixed:
        return mix({"": self}, x, experts)[""]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count}


def mix(gates: Mapping[str, Gate], x: tf.Tensor, experts: tf.Tensor) -> dict[str, Mixed]:
    """The mixtures of several gates over the same x [B, I] and experts [B, n, H].

    Gates without hidden layers share one product with x, and all gates share one with the experts,
    so that both are read once.
    """
    for gate in gates.values():
        if not gate.built:
            gate.build(x.shape, experts.shape)
    each = list(gates.values())
    if any(gate.units for gate in each):
        logits = [gate.dense(gate.hidden(x)) for gate in each]
    else:
        x, *kernels = (
            tf.cast(t, each[0].compute_dtype) for t in (x, *(gate.dense.kernel for gate in each))
        )
        logits = tf.split(tf.matmul(x, tf.concat(kernels, 1)), len(each), 1)
    weights = [tf.nn.softmax(z) for z in logits]
    mixtures = tf.unstack(tf.matmul(tf.stack(weights, 1), experts), axis=1)  # [B, K, n]·[B, n, H]
    return dict(zip(gates, zip(mixtures, weights, strict=True), strict=True))
