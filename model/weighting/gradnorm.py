"""Weights that bring the objectives' gradients to comparable norms."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import GradNormParams
from model.weighting.base import Gradients, Weighting


class GradNorm(Weighting):
    """w descends the gradient of Σ_k |G_k − mean(G)·r_k^a|, G_k = ‖∇_W w_k L_k‖, and is scaled to
    the sum K.

    - W is the last layer of the representation that all tasks share, never an embedding table. Of
      a kernel that also holds tasks' own experts, it is the part of the shared ones.
    - r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0)) is the inverse training rate of task k, and a
      the `asymmetry`. L_k(0) is the loss on the first batch with rows of the task.
    - The target is held constant, so ∂/∂w_k = sign(G_k − target_k)·‖∇_W L_k‖.
    - A task whose gradient is 0, as without a row, is left out.

    Chen et al., GradNorm, ICML 2018.
    """

    minimum = 1e-3  # no step may turn a weight negative

    Params = GradNormParams
    params: GradNormParams

    def __init__(self, params: GradNormParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.weights = self._kept(tf.ones([len(objectives)]), "weights")
        self.first = self._kept(tf.zeros([len(objectives)]), "first_losses")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"weights": self.weights, "first_losses": self.first}

    def current(self) -> tf.Tensor:
        return self.weights.read_value()

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        """Returns the weights of this step, and updates them for the next."""
        norms = tf.stack([tf.linalg.global_norm(own) for own in gradients])  # ‖∇_W L_k‖
        first, weights = (
            tf.where((self.first > 0) | (norms == 0), self.first, losses),
            self.current(),
        )
        progress = tf.nn.relu(tf.math.divide_no_nan(losses, first))
        rates = tf.math.divide_no_nan(progress, mean_over(progress, norms > 0))
        target = mean_over(weights * norms, norms > 0) * rates**self.params.asymmetry
        moved = tf.maximum(
            weights - self.params.learning_rate * tf.sign(weights * norms - target) * norms,
            self.minimum,
        )
        self.weights.assign(moved * len(self.objectives) / tf.reduce_sum(moved))
        self.first.assign(first)
        return weights


def mean_over(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """The mean of the values [K] where `counted` [K] is true; 0 without any."""
    share = tf.cast(counted, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(share * values), tf.reduce_sum(share))
