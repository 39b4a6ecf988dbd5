"""Experts that read a sequence: LSTMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.experts import Experts
from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class LSTMExperts(Network):
    """n LSTMs over one sequence, each followed by an MLP of `units` that reads its last state and x: f(x, s) = MLP([LSTM(s), x]).

    x [B, I], sequence [B, T, D], present [B, T] → [B, n, units[−1]]. A step that is not present leaves the state as it was. Without
    `units` the last states themselves, [B, n, lstm_units], and x is not read. Hochreiter and Schmidhuber, Neural Computation 9, 1997.
    """

    def __init__(self, count: int, units: Sequence[int], *, lstm_units: int = 32, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.count, self.lstm_units = count, lstm_units
        self.lstms = [keras.layers.LSTM(lstm_units, kernel_regularizer=self.regularizer, name=f"lstm_{i}") for i in range(count)]
        self.deep = Experts(count, units, **self.options, name="deep") if units else None

    def build(self, x_shape: Sequence[int], sequence_shape: Sequence[int], present_shape: Sequence[int]) -> None:
        for lstm in self.lstms:
            lstm.build(sequence_shape)
        if self.deep:
            self.deep.build((None, self.count, self.lstm_units + x_shape[-1]))

    def call(self, x: tf.Tensor, sequence: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        states = tf.stack([lstm(sequence, mask=present) for lstm in self.lstms], 1)  # [B, n, lstm_units]
        if self.deep is None:
            return states
        repeated = tf.repeat(x[:, tf.newaxis, :], self.count, 1)
        return self.deep(tf.concat([states, repeated], 2))

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return self.deep.last if self.deep else [w for lstm in self.lstms for w in lstm.trainable_weights]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count, "lstm_units": self.lstm_units}
