"""Adagrad."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.optimizers.base import Rows, Rule, RuleParams


class Adagrad(Rule):
    """a ← a + g², w ← w − η·g / (√a + ε).

    Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011. Keras' defaults.
    """

    class Params(RuleParams):
        initial_accumulator: float = Field(0.1, ge=0)
        epsilon: float = Field(1e-7, ge=0)

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        return {"accumulator": (dim, self.params.initial_accumulator)}

    def __call__(self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, Rows]:
        a = slots[0] + g * g
        return w - rate * g / (tf.sqrt(a) + self.params.epsilon), (a,)
