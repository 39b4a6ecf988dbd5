"""Gradient surgery."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import PCGradParams
from model.weighting.base import Gradients, Weighting, gram


class PCGrad(Weighting):
    """g_k ← g_k − (g_k · g_j / ‖g_j‖²)·g_j for each j, in random order, with which it conflicts,
    g_k · g_j < 0; then Σ_k g_k.

    - g are the gradients of the dense weights that more than one objective reaches. A projection
      is a combination of the original gradients, Σ_j c_j g_j, whose c follow from their inner
      products.
    - A kernel that holds several tasks' own experts counts as one. Where an objective does not
      reach, its gradient is 0. The part that only one objective reaches adds to its norm.
    - Weights that one objective reaches keep its gradient.
    - Embedding tables keep the plain sum: two objectives' gradients of a row meet only where a
      batch has it, and a projection would touch the rows of both.

    Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.
    """

    Params = PCGradParams
    params: PCGradParams

    def __init__(self, params: PCGradParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.step = self._kept(tf.zeros([], tf.int64), "step")
        self.weights = self._kept(tf.ones([len(objectives)]), "weights")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"step": self.step, "weights": self.weights}

    def current(self) -> tf.Tensor:
        return self.weights.read_value()

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        count = len(self.objectives)
        seeds = [
            tf.stack([tf.constant(self.params.seed * count + k, tf.int64), self.step.read_value()])
            for k in range(count)
        ]
        orders = [tf.random.experimental.stateless_shuffle(tf.range(count), seed) for seed in seeds]
        weights = surgery(tf.cast(gram(gradients), tf.float32), orders)
        self.weights.assign(weights)
        return weights

    def advance(self, losses: tf.Tensor, present: tf.Tensor) -> None:
        self.step.assign(self.step + 1)


def surgery(products: tf.Tensor, orders: list[tf.Tensor]) -> tf.Tensor:
    """c [K] with Σ_k projected g_k = Σ_j c_j g_j.

    Args:
        products: the inner products [K, K].
        orders: orders[k] [K] is the order in which g_k is projected.
    """
    total = tf.zeros([len(orders)])
    for k, order in enumerate(orders):
        c = tf.one_hot(k, len(orders))  # g_k as a combination of the originals
        for j in tf.unstack(order):
            conflict = tf.minimum(tf.tensordot(c, products[:, j], 1), 0.0)  # with the original g_j
            away = tf.where(j == k, 0.0, tf.math.divide_no_nan(conflict, products[j, j]))
            c -= away * tf.one_hot(j, len(orders))
        total += c
    return total
