"""Follow the regularized leader."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.base import Rows, Rule
from model.settings.rules import FTRLParams


class FTRL(Rule):
    """n' = n + g², z ← z + g − (√n' − √n)/η · w, w ← 0 where |z| ≤ λ₁, else (sgn(z)·λ₁ − z) / ((β +
    √n')/η + 2·λ₂).

    McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, algorithm 1; λ₂ as
    Keras and TensorFlow count it, twice the paper's. z begins at 0, as there: a row's first update
    forgets most of where it began. g is of the sum over the batch.
    """

    Params = FTRLParams
    params: FTRLParams

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        return {"accumulator": (dim, self.params.initial_accumulator), "linear": (dim, 0.0)}

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        p, (n, z) = self.params, slots
        grown = n + g * g
        z = z + g - (tf.sqrt(grown) - tf.sqrt(n)) / rate * w
        curvature = (p.beta + tf.sqrt(grown)) / rate + 2 * p.l2
        return tf.where(abs(z) <= p.l1, tf.zeros_like(z), (tf.sign(z) * p.l1 - z) / curvature), (
            grown,
            z,
        )
