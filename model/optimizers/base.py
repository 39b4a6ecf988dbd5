"""The base of rules, the optimizers of embedding tables."""

from __future__ import annotations

import tensorflow as tf

from model.settings.base import RuleParams

Rows = tuple[tf.Tensor, ...]  # the slots of a batch's rows, each [n, width]


class Rule:
    """(rows w [n, dim], their slots, gradients g [n, dim], learning rate η, step t) → (new rows,
    new slots), elementwise.

    A rule sees only the rows of a batch, each once, with g summed over its occurrences. Where a
    rule compares a gradient with a constant, as ε, `sums` is true: then g = B·∂L/∂w, the sum of the
    examples' gradients, with B the rows of a batch and L its mean loss. So the g of a rare row does
    not shrink as the batch grows. Otherwise g = ∂L/∂w.
    """

    Params: type[RuleParams] = RuleParams
    sums = True

    def __init__(self, params: RuleParams) -> None:
        self.params = params

    def slots(self, dim: int) -> dict[str, tuple[int, float]]:
        """{slot: (width, initial value)} for a table of that dim."""
        return {}

    def __call__(
        self, w: tf.Tensor, slots: Rows, g: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Rows]:
        """`rate` is a scalar or [n, 1]; `step` is a float that counts from 1."""
        raise TypeError(f"{type(self).__name__} must implement __call__")
