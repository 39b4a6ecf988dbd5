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
    """n deep and cross networks: x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l for `cross_layers`, then an
    MLP of `units` (stacked).

    [B, I] or, each with its own input, [B, n, I] → [B, n, units[−1]]. Where all read the same, the
    first product of all is one, with a kernel [I, n·I]. Wang et al., DCN V2, WWW 2021, eq. 1.
    """

    def __init__(
        self, count: int, units: Sequence[int], *, cross_layers: int = 2, **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.count, self.cross_layers = count, cross_layers
        self.deep = Experts(count, units, **self.options, name="deep")

    def build(self, shape: Sequence[int]) -> None:
        n, width = self.count, shape[-1]
        self.kernels, self.biases = [], []
        for layer in range(self.cross_layers):
            joined = layer == 0 and len(shape) == 2
            kernel = (width, n * width) if joined else (n, width, width)
            draw = each_its_own(
                n, (width, width) if joined else (1, width, width), axis=int(joined)
            )
            self.kernels.append(
                self.add_weight(
                    name=f"cross_{layer}",
                    shape=kernel,
                    initializer=draw,
                    regularizer=self.regularizer,
                )
            )
            self.biases.append(
                self.add_weight(name=f"bias_{layer}", shape=(n, 1, width), initializer="zeros")
            )
        self.deep.build((None, n, width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if len(x.shape) == 2:
            product = tf.reshape(
                tf.matmul(x, self.kernels[0]), [-1, self.count, x.shape[-1]]
            )  # [B, n, I]
            crossed = x * (tf.transpose(product, [1, 0, 2]) + self.biases[0]) + x  # [n, B, I]
        else:
            x = tf.transpose(x, [1, 0, 2])  # [n, B, I]
            crossed = x * (tf.matmul(x, self.kernels[0]) + self.biases[0]) + x
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            crossed = x * (tf.matmul(crossed, kernel) + bias) + crossed
        return self.deep(tf.transpose(crossed, [1, 0, 2]))

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return self.deep.last

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count, "cross_layers": self.cross_layers}
