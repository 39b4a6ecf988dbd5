"""Experts that read a sequence: LSTMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.experts import Experts, each_its_own
from model.layers.network import Network

State = tuple[tf.Tensor, tf.Tensor]  # h and c, [n, B, U] each


@keras.saving.register_keras_serializable("funnel")
class LSTMExperts(Network):
    """n LSTMs over one sequence, each followed by an MLP of `units` that reads its last state and
    x: f(x, s) = MLP([h_T, x]).

    i, f, g, o = the quarters of s_t W + h_{t−1} R + b; c_t = σ(f) ⊙ c_{t−1} + σ(i) ⊙ tanh(g); h_t =
    σ(o) ⊙ tanh(c_t). Hochreiter and Schmidhuber, Neural Computation 9, 1997, with the forget gate
    of Gers et al., Neural Computation 12, 2000, whose bias starts at 1.

    x [B, I], sequence [B, T, D] or, each with its own, [B, n, T, D], present [B, T] → [B, n,
    units[−1]]. A step that is not present leaves h and c as they were. Without `units` x is not
    read and the last states are returned, [B, n, U] with U = `lstm_units`, or, with `every_step`,
    those of every step, [B, n, T, U]. The products with W are one for all experts and steps.
    """

    def __init__(
        self,
        count: int,
        units: Sequence[int],
        *,
        lstm_units: int = 32,
        every_step: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        if units and every_step:
            raise ValueError(
                f"every_step = True returns the states of the LSTMs, but units = {list(units)} "
                "asks for an MLP above them"
            )
        self.count, self.lstm_units, self.every_step = count, lstm_units, every_step
        self.deep = Experts(count, units, **self.options, name="deep") if units else None

    def build(
        self, x_shape: Sequence[int], sequence_shape: Sequence[int], present_shape: Sequence[int]
    ) -> None:
        n, wide, width = self.count, 4 * self.lstm_units, sequence_shape[-1]
        joined = len(sequence_shape) == 3
        shape = (width, n * wide) if joined else (n, width, wide)
        draw = each_its_own(n, (width, wide) if joined else (1, width, wide), axis=int(joined))
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=draw, regularizer=self.regularizer
        )
        draw = each_its_own(
            n, (1, self.lstm_units, wide), axis=0, kind=keras.initializers.Orthogonal
        )
        shape = (n, self.lstm_units, wide)
        self.recurrent = self.add_weight(
            name="recurrent", shape=shape, initializer=draw, regularizer=self.regularizer
        )
        self.bias = self.add_weight(
            name="bias", shape=(n, 1, wide), initializer=self._open_forget_gate
        )
        if self.deep:
            self.deep.build((None, n, self.lstm_units + x_shape[-1]))

    def _open_forget_gate(self, shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        zeros, ones = tf.zeros(self.lstm_units, dtype), tf.ones(self.lstm_units, dtype)
        return tf.broadcast_to(tf.concat([zeros, ones, zeros, zeros], 0), shape)

    def call(self, x: tf.Tensor, sequence: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        read = self._read(sequence)  # [T, n, B, 4·U]
        keep = tf.transpose(present)[:, tf.newaxis, :, tf.newaxis]  # [T, 1, B, 1]
        start = tf.zeros([self.count, tf.shape(read)[2], self.lstm_units], read.dtype)
        states = tf.scan(self._step, (read, keep), (start, start))[0]  # [T, n, B, U]
        if self.every_step:
            return tf.transpose(states, [2, 1, 0, 3])
        last = tf.transpose(states[-1], [1, 0, 2])  # [B, n, U]
        return (
            self.deep(tf.concat([last, tf.repeat(x[:, tf.newaxis, :], self.count, 1)], 2))
            if self.deep
            else last
        )

    def _read(self, sequence: tf.Tensor) -> tf.Tensor:
        """s_t W + b of all steps, [T, n, B, 4·U]."""
        steps, wide = sequence.shape[-2], 4 * self.lstm_units
        if len(sequence.shape) == 3:
            product = tf.reshape(tf.matmul(sequence, self.kernel), [-1, steps, self.count, wide])
            return tf.transpose(product, [1, 2, 0, 3]) + self.bias
        return tf.matmul(tf.transpose(sequence, [2, 1, 0, 3]), self.kernel) + self.bias

    def _step(self, state: State, inputs: State) -> State:
        (h, c), (read, keep) = state, inputs
        i, f, g, o = tf.split(read + tf.matmul(h, self.recurrent), 4, -1)
        cell = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.where(keep, tf.sigmoid(o) * tf.tanh(cell), h), tf.where(keep, cell, c)

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return self.deep.last if self.deep else [self.kernel, self.recurrent, self.bias]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "count": self.count,
            "lstm_units": self.lstm_units,
            "every_step": self.every_step,
        }
