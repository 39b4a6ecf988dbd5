"""Adam that does not touch the moments of absent rows."""

from __future__ import annotations

import tensorflow as tf

from model.optimizers.base import Rows, Rule
from model.settings.rules import LazyAdamParams


class LazyAdam(Rule):
    """m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², w ← w − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε),
    for the rows of the batch only.

    Kingma and Ba, Adam, ICLR 2015, the form of section 2's last paragraph; t counts steps, not a
    row's own updates, as in TensorFlow Addons' LazyAdam. Keras' defaults; ε is compared with
    gradients of the sum over the batch. A row's m and v lie side by side in one slot, to be fetched
    from memory together.
    """

    Params = LazyAdamParams
    params: LazyAdamParams

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        return {"moments": (2 * dim, 0.0)}

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        p = self.params
        m, v = tf.split(slots[0], 2, axis=1)
        m += (g - m) * (1 - p.beta_1)
        v += (g * g - v) * (1 - p.beta_2)
        scaled = rate * tf.sqrt(1 - p.beta_2**step) / (1 - p.beta_1**step)
        return w - scaled * m / (tf.sqrt(v) + p.epsilon), (tf.concat([m, v], 1),)
