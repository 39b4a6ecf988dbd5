"""Adagrad with one accumulator a row."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.adagrad import Adagrad
from model.optimizers.base import Rows


class RowwiseAdagrad(Adagrad):
    """a ← a + mean_j g_j², w ← w − η·g / (√a + ε): slots are 1/dim of the table.

    Gupta et al., Training Recommender Systems at Scale, 2020, arXiv:2010.11305 (row-wise adaptive
    learning rates), as in FBGEMM.
    """

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        return {"accumulator": (1, self.params.initial_accumulator)}

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        a = slots[0] + tf.reduce_mean(g * g, 1, keepdims=True)
        return w - rate * g / (tf.sqrt(a) + self.params.epsilon), (a,)
