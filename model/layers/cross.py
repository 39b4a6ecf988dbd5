"""Experts that multiply their inputs explicitly: DCN-V2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.experts import Experts, each_its_own
from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class CrossExperts(Network):
    """n deep and cross networks: x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l for `cross_layers`, then an MLP of `units` (stacked).

    [B, I] → [B, n, units[−1]]. The first product of all experts is one, with a kernel [I, n·I]. Wang et al., DCN V2, WWW 2021, eq. 1.
    """

    def __init__(self, count: int, units: Sequence[int], *, cross_layers: int = 2, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.count, self.cross_layers = count, cross_layers
        self.deep = Experts(count, units, **self.options, name="deep")

    def build(self, shape: Sequence[int]) -> None:
        n, width = self.count, shape[-1]
        first = each_its_own(n, (width, width), axis=1)
        kernels = [self.add_weight(name="cross_0", shape=(width, n * width), initializer=first, regularizer=self.regularizer)]
        for layer in range(1, self.cross_layers):
            draw = each_its_own(n, (1, width, width), axis=0)
            kernels.append(self.add_weight(name=f"cross_{layer}", shape=(n, width, width), initializer=draw, regularizer=self.regularizer))
        self.kernels = kernels
        self.biases = [self.add_weight(name=f"bias_{i}", shape=(n, 1, width), initializer="zeros") for i in range(self.cross_layers)]
        self.deep.build((None, n, width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        product = tf.reshape(tf.matmul(x, self.kernels[0]), [-1, self.count, x.shape[-1]])  # [B, n, I]
        crossed = x * (tf.transpose(product, [1, 0, 2]) + self.biases[0]) + x  # [n, B, I]
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            crossed = x * (tf.matmul(crossed, kernel) + bias) + crossed
        return self.deep(tf.transpose(crossed, [1, 0, 2]))

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return self.deep.last

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count, "cross_layers": self.cross_layers}
