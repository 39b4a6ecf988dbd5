"""Plain gradient descent."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.base import Rows, Rule


class SGD(Rule):
    """w ← w − η·g, g of the mean loss: the sum's would grow with the batch in the rows that all
    examples read.
    """

    sums = False

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        return w - rate * g, ()
