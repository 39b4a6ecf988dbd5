"""Several networks of the same shape, computed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class Experts(Network):
    """f_1 … f_n, MLPs of the same units: [B, I] → [B, n, units[−1]], or, each with its own input, [B, n, I] → [B, n, units[−1]].

    Where all read the same input, the first layer of all is one matrix product with a kernel [I, n·units[0]]. Every expert draws its
    own weights, scaled by its own fan-in and fan-out. See Network for the options.
    """

    def __init__(self, count: int, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.prepare()
        self.count = count

    def build(self, shape: Sequence[int]) -> None:
        self.shared_input, width = len(shape) == 2, shape[-1]
        self.kernels, self.biases = [], []
        for layer, units in enumerate(self.units):
            joined = layer == 0 and self.shared_input
            kernel = (width, self.count * units) if joined else (self.count, width, units)
            draw = each_its_own(self.count, (width, units) if joined else (1, width, units), axis=int(joined))
            bias = (self.count * units,) if joined else (self.count, 1, units)
            self.kernels.append(self.add_weight(name=f"kernel_{layer}", shape=kernel, initializer=draw, regularizer=self.regularizer))
            self.biases.append(self.add_weight(name=f"bias_{layer}", shape=bias, initializer="zeros"))
            if self.norms:
                self.norms[layer].build((None, self.count * units))
            width = units

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if not self.shared_input:
            h, above = tf.transpose(x, [1, 0, 2]), 0  # [n, B, I]: a matrix product per expert
        else:
            h = self.finish(0, tf.matmul(x, self.kernels[0]) + self.biases[0], None)
            h = tf.reshape(h, [-1, self.count, self.units[0]])  # [B, n, U]
            if len(self.units) == 1:
                return h
            h, above = tf.transpose(h, [1, 0, 2]), 1
        for layer in range(above, len(self.units)):
            h = self.finish(layer, tf.matmul(h, self.kernels[layer]) + self.biases[layer], h)
        return tf.transpose(h, [1, 0, 2])

    def finish(self, layer: int, h: tf.Tensor, before: tf.Tensor | None) -> tf.Tensor:
        """Normalises the units of each expert by themselves: [n, B, U] as columns of [B, n·U]."""
        if not self.norms or len(h.shape) == 2:
            return super().finish(layer, h, before)
        units = self.units[layer]

        def side_by_side(x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, self.count * x.shape[-1]])

        h = super().finish(layer, side_by_side(h), None if before is None else side_by_side(before))
        return tf.transpose(tf.reshape(h, [-1, self.count, units]), [1, 0, 2])

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return [self.kernels[-1], self.biases[-1]]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count}


def each_its_own(count: int, shape: tuple[int, ...], axis: int) -> Callable:
    """An initializer that draws `count` Glorot-uniform kernels of `shape` and joins them: one instance would repeat its values."""

    def draw(_: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        return tf.concat([keras.initializers.GlorotUniform()(shape, dtype) for _ in range(count)], axis)

    return draw
