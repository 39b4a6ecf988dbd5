"""Several networks of the same shape, computed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.network import Network, add_bias


@keras.saving.register_keras_serializable("funnel")
class Experts(Network):
    """f_1 … f_n, MLPs of the same units: [B, I] → [B, n, units[−1]], or, each with its own input,
    [B, n, I] → [B, n, units[−1]].

    Where all read the same input, the first layer of all is one matrix product with a kernel [I,
    n·units[0]]. Every expert has its own initial values, scaled by its own fan-in and fan-out. See
    Network for the options. `kernel_regularizer` replaces an L2.
    """

    def __init__(
        self,
        count: int,
        units: Sequence[int],
        *,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.prepare(count)
        self.count, self.kernel_regularizer = count, keras.regularizers.get(kernel_regularizer)

    def build(self, shape: Sequence[Any]) -> None:
        shared_input, width = len(shape) == 2, shape[-1]
        penalty = self.kernel_regularizer or self.regularizer
        self.kernels, self.biases = [], []
        for layer, units in enumerate(self.units):
            joined = layer == 0 and shared_input
            kernel = (width, self.count * units) if joined else (self.count, width, units)
            draw = each_its_own(
                self.count, (width, units) if joined else (1, width, units), axis=int(joined)
            )
            bias = (self.count * units,) if joined else (self.count, 1, units)
            self.kernels.append(
                self.add_weight(
                    name=f"kernel_{layer}", shape=kernel, initializer=draw, regularizer=penalty
                )
            )
            if self.norms:
                self.norms[layer].build((None, self.count * units))
            else:
                self.biases.append(
                    self.add_weight(name=f"bias_{layer}", shape=bias, initializer="zeros")
                )
            width = units

    def call(
        self,
        x: tf.Tensor,
        between: Callable[[int, tf.Tensor], tf.Tensor] | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """`between`(l, h) maps the output [B, n, units[l]] of layer l to the input of the next."""
        h = x
        for layer in range(len(self.units)):
            h = self._layer(layer, h, bool(training))
            h = between(layer, h) if between else h
        return h

    def _layer(self, layer: int, x: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, I] where all read the same, or [B, n, I] → [B, n, U]."""
        kernel, bias, units = (
            self.kernels[layer],
            self.biases[layer] if self.biases else None,
            self.units[layer],
        )
        if len(x.shape) == 2:
            h, before = tf.matmul(x, kernel), None
            h = h if bias is None else add_bias(h, tf.convert_to_tensor(bias), training=training)
        else:
            own = tf.matmul(
                tf.transpose(x, [1, 0, 2]), kernel
            )  # [n, B, U]: a matrix product per expert
            own = (
                own
                if bias is None
                else add_bias(own, tf.convert_to_tensor(bias), training=training)
            )
            h, before = (
                tf.reshape(t, [-1, self.count * t.shape[-1]])
                for t in (tf.transpose(own, [1, 0, 2]), x)
            )
        return tf.reshape(
            self.finish(layer, h, before), [-1, self.count, units]
        )  # the units of an expert are columns of [B, n·U]

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return [self.kernels[-1], *self.biases[-1:]]

    def get_config(self) -> dict[str, Any]:
        penalty = self.kernel_regularizer and keras.regularizers.serialize(self.kernel_regularizer)
        return super().get_config() | {"count": self.count, "kernel_regularizer": penalty}


def each_its_own(
    count: int,
    shape: tuple[int, ...],
    axis: int,
    kind: type[keras.Initializer] = keras.initializers.GlorotUniform,
) -> Callable:
    """An initializer that joins `count` kernels of `shape`, each from its own Keras initializer: a
    single instance would repeat its values.
    """

    def draw(_: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        return tf.concat([kind()(shape, dtype) for _ in range(count)], axis)

    return draw
