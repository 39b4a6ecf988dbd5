"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class MLP(Network):
    """h_l = act(W_l h_{l−1} + b_l): [B, I] → [B, units[−1]]. Without units it is the identity. See
    Network for the options.
    """

    def __init__(self, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.prepare()
        options = {"use_bias": self.normalize == "none", "kernel_regularizer": self.regularizer}
        self.dense = [
            keras.layers.Dense(u, **options, name=f"dense_{i}") for i, u in enumerate(units)
        ]

    def build(self, shape: Sequence[int]) -> None:
        width = shape[-1]
        for layer, units in enumerate(self.units):
            self.dense[layer].build((None, width))
            if self.norms:
                self.norms[layer].build((None, units))
            width = units

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for layer, dense in enumerate(self.dense):
            x = self.finish(layer, dense(x), x)
        return x

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer."""
        return self.dense[-1].trainable_weights
