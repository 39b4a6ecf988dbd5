"""Plain gradient descent."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.base import Rows, Rule


class SGD(Rule):
    """w ← w − η·g."""

    def __call__(self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, Rows]:
        return w - rate * g, ()
