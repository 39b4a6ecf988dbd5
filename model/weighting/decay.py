"""Weights that decay with the step."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import DecayParams
from model.weighting.base import Weighting, by_name


class Decay(Weighting):
    """w_k(t) = w_{k,0} · γ_k^t, t the step: Tang et al., Progressive Layered Extraction, RecSys
    2020, eq. 10.
    """

    Params = DecayParams
    params: DecayParams

    def __init__(self, params: DecayParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        self.step = self._kept(tf.zeros([], tf.int64), "step")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"step": self.step}

    def current(self) -> tf.Tensor:
        first, gamma = (
            by_name(self.params.weights, self.objectives),
            by_name(self.params.gamma, self.objectives),
        )
        return first * gamma ** tf.cast(self.step, tf.float32)

    def advance(self, losses: tf.Tensor, present: tf.Tensor) -> None:
        self.step.assign(self.step + 1)
