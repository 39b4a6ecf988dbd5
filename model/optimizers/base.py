"""What every rule for embedding tables is."""

from __future__ import annotations

import tensorflow as tf

from features.settings import Settings

Rows = tuple[tf.Tensor, ...]  # the slots of a batch's rows, each [n, width]


class RuleParams(Settings):
    """Options that every rule has: none but its name."""

    name: str = ""


class Rule:
    """(rows w [n, dim], their slots, gradients g [n, dim], learning rate η, step t) → (new rows,
    new slots), elementwise.

    Only rows of the batch come here, each once, g summed over its occurrences. A rule with
    constants to compare a gradient with takes `sums`: g = B·∂L/∂w, B the rows of a batch and L its
    mean loss, is what the examples' own gradients add up to, so a rare row's g does not shrink as
    the batch grows. Without such a constant g = ∂L/∂w.
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
        """`rate` is a scalar or [n, 1]; `step` counts from 1, a float."""
        raise TypeError(f"{type(self).__name__} must say how rows move: give it a __call__")
