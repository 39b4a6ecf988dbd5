"""Adagrad."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.base import Rows, Rule
from model.settings.rules import AdagradParams


class Adagrad(Rule):
    """a ← a + g², w ← w − η·g / (√a + ε), g of the sum over the batch.

    Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011. a begins at
    `initial_accumulator`, in the unit of one example's gradient: a peer that takes gradients of the
    mean over B rows does the same with `initial_accumulator` / B² and ε / B.
    """

    Params = AdagradParams
    params: AdagradParams

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        return {"accumulator": (dim, self.params.initial_accumulator)}

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        a = slots[0] + g * g
        return w - rate * g / (tf.sqrt(a) + self.params.epsilon), (a,)
