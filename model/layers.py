"""The blocks that every architecture is made of, as Keras layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("funnel")
class MLP(keras.Layer):
    """h_l = relu(W_l h_{l−1} + b_l): [B, I] → [B, units[−1]]. Without units it is the identity."""

    def __init__(self, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = list(units)
        self.dense = [keras.layers.Dense(u, "relu", name=f"dense_{layer}") for layer, u in enumerate(units)]

    def build(self, shape: Sequence[int]) -> None:
        width = shape[-1]
        for layer, units in zip(self.dense, self.units, strict=True):
            layer.build((None, width))
            width = units

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for layer in self.dense:
            x = layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("funnel")
class Experts(keras.Layer):
    """f_1 … f_n, MLPs of the same units over one input: [B, I] → [B, n, units[−1]].

    The first layer of all is one matrix product with a kernel [I, n·units[0]]. Every expert draws its own weights,
    scaled by its own fan-in and fan-out.
    """

    def __init__(self, count: int, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.units = count, list(units)

    def build(self, shape: Sequence[int]) -> None:
        n, first = self.count, self.units[0]
        kernel = each_its_own(n, (shape[-1], first), axis=1)
        self.kernels = [self.add_weight(name="kernel_0", shape=(shape[-1], n * first), initializer=kernel)]
        self.biases = [self.add_weight(name="bias_0", shape=(n * first,), initializer="zeros")]
        for layer, (fan_in, fan_out) in enumerate(zip(self.units, self.units[1:], strict=False), start=1):
            kernel = each_its_own(n, (1, fan_in, fan_out), axis=0)
            self.kernels.append(self.add_weight(name=f"kernel_{layer}", shape=(n, fan_in, fan_out), initializer=kernel))
            self.biases.append(self.add_weight(name=f"bias_{layer}", shape=(n, 1, fan_out), initializer="zeros"))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        h = tf.nn.relu(tf.matmul(x, self.kernels[0]) + self.biases[0])
        h = tf.reshape(h, [-1, self.count, self.units[0]])  # [B, n, U]
        if len(self.units) == 1:
            return h
        h = tf.transpose(h, [1, 0, 2])  # [n, B, U]: a matrix product per expert
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            h = tf.nn.relu(tf.matmul(h, kernel) + bias)
        return tf.transpose(h, [1, 0, 2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count, "units": self.units}


def each_its_own(count: int, shape: tuple[int, ...], axis: int) -> Callable:
    """An initializer that draws `count` Glorot-uniform kernels of `shape` and joins them: one instance would repeat its values."""

    def draw(_: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        return tf.concat([keras.initializers.GlorotUniform()(shape, dtype) for _ in range(count)], axis)

    return draw


@keras.saving.register_keras_serializable("funnel")
class Gate(keras.Layer):
    """g(x) = softmax(W x), and Σ_i g(x)_i · f_i: x [B, I], experts [B, n, H] → [B, H]."""

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.dense = keras.layers.Dense(count, "softmax", use_bias=False, name="softmax")

    def build(self, x_shape: Sequence[int], experts_shape: Sequence[int]) -> None:
        self.dense.build(x_shape)

    def weights_of(self, x: tf.Tensor) -> tf.Tensor:
        """The distribution over experts: [B, I] → [B, n]."""
        return self.dense(x)

    def call(self, x: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
        return tf.squeeze(tf.matmul(self.weights_of(x)[:, tf.newaxis, :], experts), 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count}
