"""Weights of the step that makes no objective worse."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from features.errors import FunnelError
from model.weighting.base import Gradients, NonNegative, Weighting, WeightingParams, by_name, check_names, gram


class Pareto(Weighting):
    """w = argmin ‖Σ w_k g_k‖² over w_k ≥ c_k, Σ w_k = 1: the multiple-gradient descent algorithm, MGDA.

    g_k is the gradient of L_k with respect to the dense weights that more than one objective reaches; the weights that it gives apply to
    all. A kernel that holds several tasks' own experts counts whole: where an objective does not reach, its gradient is 0, and what one
    alone reaches adds to its norm. An objective without a row in the batch is left out. Solved by Frank and Wolfe's method with exact
    line search, in `iterations` steps, exact for two objectives. Désidéri, Comptes Rendus Mathématique 350, 2012; Sener and Koltun,
    Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, alg. 2; with the bounds c = `at_least`, Lin et al., A
    Pareto-Efficient Algorithm for Multiple Objective Optimization (PE-LTR), RecSys 2019.
    """

    of_gradients = True

    class Params(WeightingParams):
        at_least: dict[str, NonNegative] = Field({})
        iterations: int = Field(200, ge=1)

        def check(self, objectives: list[str]) -> None:
            check_names(self.at_least, objectives, "at_least")
            if sum(self.at_least.values()) > 1:
                raise FunnelError(
                    f"model.weighting.at_least sums to {sum(self.at_least.values()):g}, and all weights to 1: lower the bounds"
                )

    def __init__(self, params: Params, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.weights = self._kept(tf.fill([len(objectives)], 1 / len(objectives)), "weights")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"weights": self.weights}

    def current(self) -> tf.Tensor:
        return self.weights.read_value()

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        weights = least_norm(gram(gradients), by_name(self.params.at_least, self.objectives, 0.0), self.params.iterations)
        self.weights.assign(weights)
        return weights


def least_norm(products: tf.Tensor, bounds: tf.Tensor, iterations: int) -> tf.Tensor:
    """argmin wᵀMw over w ≥ bounds, Σ w = 1, for M [K, K] of inner products: [K]. A gradient of 0 gets the weight 0: it would win."""
    there = tf.linalg.diag_part(products) > 0
    bounds = tf.where(there, bounds, tf.zeros_like(bounds))
    corners = bounds + (1 - tf.reduce_sum(bounds)) * tf.eye(bounds.shape[0])  # the simplex's, one a row
    none = tf.fill(there.shape, float("inf"))

    def step(w: tf.Tensor) -> tuple[tf.Tensor]:
        slope = tf.linalg.matvec(products, w)
        toward = tf.gather(corners, tf.argmin(tf.where(there, tf.linalg.matvec(corners, slope), none))) - w
        curvature = tf.tensordot(toward, tf.linalg.matvec(products, toward), 1)
        share = tf.math.divide_no_nan(-tf.tensordot(toward, slope, 1), curvature)
        return (w + tf.clip_by_value(share, 0.0, 1.0) * toward,)

    share = tf.cast(there, tf.float32)
    start = tf.math.divide_no_nan(tf.linalg.matvec(corners, share, transpose_a=True), tf.reduce_sum(share))
    (w,) = tf.while_loop(lambda w: True, step, (start,), maximum_iterations=iterations)
    return w
