"""Loss scaling for float16, whose smallest number is 6·10⁻⁸."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

START, GROW_AFTER = 2.0**15, 2000  # Micikevicius et al., Mixed Precision Training, ICLR 2018


class LossScale(tf.Module):
    """The loss is multiplied by `value`, and gradients are divided by it. A step whose gradients
    are not finite is skipped and halves it; 2000 finite steps in a row double it.
    """

    def __init__(self) -> None:
        super().__init__()
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.value = tf.Variable(START, trainable=False, aggregation=first)
        self.finite_steps = tf.Variable(0, dtype=tf.int64, trainable=False, aggregation=first)

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"loss_scale/value": self.value, "loss_scale/finite_steps": self.finite_steps}

    @property
    def at_minimum(self) -> tf.Tensor:
        """Whether it cannot be halved any further."""
        return self.value <= 1.0

    def advance(self, finite: tf.Tensor) -> None:
        """Updates the scale after a step; `finite`: whether the gradients of all replicas were."""
        steps = tf.where(finite, self.finite_steps + 1, 0)
        grown = tf.where(steps == GROW_AFTER, self.value * 2, self.value)
        self.value.assign(tf.where(finite, grown, tf.maximum(1.0, self.value / 2)))
        self.finite_steps.assign(steps % GROW_AFTER)


def all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether every number is finite: otherwise their sum is not."""
    return tf.math.is_finite(tf.add_n([tf.reduce_sum(t) for t in tensors]))
