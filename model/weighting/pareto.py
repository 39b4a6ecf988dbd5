"""Weights of the step that makes no objective worse."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import ParetoParams
from model.weighting.base import Gradients, Weighting, by_name, gram

RIDGE = 1e-12  # relative to each gradient's own square


class Pareto(Weighting):
    """w = argmin ‖Σ w_k g_k‖² over w_k ≥ c_k, Σ w_k = 1: the multiple-gradient descent algorithm,
    MGDA.

    - g_k is the gradient of L_k with respect to the dense weights that more than one objective
      reaches. The weights w apply everywhere.
    - A kernel that holds several tasks' own experts counts as one. Where an objective does not
      reach, its gradient is 0. The part that only one objective reaches adds to its norm.
    - An objective without a row in the batch is left out.
    - The problem is solved exactly, by `least_norm`, for at most 12 objectives.

    Désidéri, Comptes Rendus Mathématique 350, 2012; Sener and Koltun, Multi-Task Learning as
    Multi-Objective Optimization, NeurIPS 2018, eq. 3; with the bounds c = `at_least`, Lin et al., A
    Pareto-Efficient Algorithm for Multiple Objective Optimization (PE-LTR), RecSys 2019.
    """

    Params = ParetoParams
    params: ParetoParams

    def __init__(self, params: ParetoParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.weights = self._kept(tf.fill([len(objectives)], 1 / len(objectives)), "weights")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"weights": self.weights}

    def current(self) -> tf.Tensor:
        return self.weights.read_value()

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        bounds = by_name(self.params.at_least, self.objectives, 0.0)
        weights = tf.cast(least_norm(gram(gradients), tf.cast(bounds, tf.float64)), tf.float32)
        self.weights.assign(weights)
        return weights


def least_norm(products: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
    """argmin wᵀMw over w ≥ c, Σ w = 1, for M [K, K] of inner products and bounds c [K], float64:
    [K].

    - w = c + u. For a known support S of u, u solves M_SS u + λ = −(M c)_S, Σ u = 1 − Σ c. All
      2^K − 1 supports are solved at once, negative u are set to 0, and the best u is taken.
    - Gradients are first scaled to length 1, so that their sizes may differ by any factor.
    - RIDGE is added to each square: it makes every system regular, halves the weight between equal
      gradients, and raises wᵀMw by at most RIDGE · Σ w_k² M_kk.
    - A gradient of 0 gets the weight 0, since it would win. So does one that is not finite, whose
      step is not taken.
    """
    diagonal = tf.linalg.diag_part(products)
    there = (diagonal > 0) & tf.math.is_finite(diagonal)
    length = tf.sqrt(tf.where(there, diagonal, tf.ones_like(diagonal)))
    smallest = tf.reduce_min(
        tf.where(there, length, tf.fill(there.shape, tf.constant(float("inf"), tf.float64)))
    )
    unit = tf.where(there, smallest / length, tf.ones_like(length))  # v = u / unit
    known = there[:, None] & there[None, :]
    cosines = tf.where(
        known, products / (length[:, None] * length[None, :]), tf.zeros_like(products)
    )
    cosines += RIDGE * tf.eye(there.shape[0], dtype=tf.float64)
    bounds = tf.where(there, bounds, tf.zeros_like(bounds))
    rest = tf.maximum(1 - tf.reduce_sum(bounds), 0.0)
    slope = tf.linalg.matvec(cosines, bounds / unit)
    v = _of_supports(cosines, unit, slope, rest, there)  # [S, K]
    value = tf.reduce_sum(
        v * (tf.linalg.matmul(v, cosines) + 2 * slope), 1
    )  # wᵀMw less its constant
    reached = tf.reduce_sum(v, 1) > 0
    best = tf.argmin(
        tf.where(reached, value, tf.fill(tf.shape(value), tf.constant(float("inf"), tf.float64)))
    )
    return bounds + v[best] * unit


def _of_supports(
    cosines: tf.Tensor, unit: tf.Tensor, slope: tf.Tensor, rest: tf.Tensor, there: tf.Tensor
) -> tf.Tensor:
    """v ≥ 0 with Σ v_k unit_k = rest for each support [S, K]; all 0 where a support has none."""
    count = there.shape[0]
    supports = (
        tf.constant([[n >> k & 1 == 1 for k in range(count)] for n in range(1, 2**count)]) & there
    )
    on = tf.cast(supports, tf.float64)
    inner = cosines * on[:, :, None] * on[:, None, :] + tf.linalg.diag(
        1 - on
    )  # v_k = 0 outside of S
    edge = (unit * on)[:, :, None]
    corner = 1 - tf.reduce_max(on, 1)[:, None, None]  # a support of only absent objectives
    last = tf.concat([tf.transpose(edge, [0, 2, 1]), corner], 2)
    system = tf.concat([tf.concat([inner, edge], 2), last], 1)  # [S, K + 1, K + 1]
    right = tf.concat([-slope * on, tf.fill([on.shape[0], 1], rest)], 1)[:, :, None]
    v = tf.maximum(tf.linalg.solve(system, right)[:, :count, 0], 0.0) * on
    return tf.math.divide_no_nan(rest * v, tf.reduce_sum(v * unit, 1, keepdims=True))
