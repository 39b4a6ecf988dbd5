"""Weights that are learned as the tasks' noise."""

from __future__ import annotations

import keras
import tensorflow as tf

from model.settings.weighting import UncertaintyParams
from model.weighting.base import Weighting


class Uncertainty(Weighting):
    """Σ e^{−s_k}·L_k + s_k/2, s_k = log σ_k² learned with the network: w_k = e^{−s_k}, s_k = 0 at
    first.

    Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018, for
    cross-entropies. A squared error has a factor ½ there, which only shifts its s by log 2.
    """

    Params = UncertaintyParams

    def __init__(self, params: UncertaintyParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.log_variances = keras.Variable(tf.zeros([len(objectives)]), name="log_variances")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"log_variances": self.log_variances.value}

    @property
    def trained(self) -> list[keras.Variable]:
        return [self.log_variances]

    def trained_gradients(
        self, losses: tf.Tensor, present: tf.Tensor, replicas: int
    ) -> list[tf.Tensor]:
        return [tf.where(present, 0.5 / replicas - self.current() * losses, tf.zeros_like(losses))]

    def current(self) -> tf.Tensor:
        return tf.exp(-self.log_variances.value)
