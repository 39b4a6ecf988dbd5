"""Objectives: losses on their sample spaces, which any number of replicas share out."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from model.objectives.predictions import Probability, Value


@dataclass(frozen=True)
class Objective:
    """The mean of a loss over the rows of its sample space.

    Args:
        name: what the weighting, the reports and the options call it.
        losses: [B], one for each row.
        mask: [B], true on the sample space.
        over: [B], the rows whose number is the denominator; default: the sample space. Estimators
            that weight their space to stand for all rows divide by all rows.
        penalty: for a penalty, the funnel's option with its coefficient; a weighting leaves it out.
        nonnegative_with: where the mean may be negative, the option that makes it at least 0.
    """

    name: str
    losses: tf.Tensor
    mask: tf.Tensor
    over: tf.Tensor | None = None
    penalty: str | None = None
    nonnegative_with: str | None = None

    def sums(self, weight: tf.Tensor | float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
        """(Σ w·loss over the sample space, Σ w over the rows of the denominator), with the sample
        weights w [B].
        """
        losses = tf.where(self.mask, self.losses * weight, tf.zeros_like(self.losses))
        over = self.mask if self.over is None else self.over
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(over, tf.float32) * weight)


def cross_entropy(
    name: str, p: Probability, label: tf.Tensor, mask: tf.Tensor, positive_weight: float = 1.0
) -> Objective:
    """−[w₁·y·log p + (1 − y)·log(1 − p)] over the rows of `mask`; label [B] holds 0 and 1 there.

    `positive_weight` w₁ is in the sum only, not in the number of rows that it is divided by.
    """
    y = tf.cast(label, tf.float32)
    return Objective(name, -(positive_weight * y * p.log_p + (1 - y) * p.log_not_p), mask)


def squared_error(name: str, prediction: Value, label: tf.Tensor, mask: tf.Tensor) -> Objective:
    """(ŷ − y)²."""
    return Objective(name, (prediction.value - label) ** 2, mask)


def huber(
    name: str, prediction: Value, label: tf.Tensor, mask: tf.Tensor, delta: float
) -> Objective:
    """½e² where |e| ≤ δ, else δ·(|e| − ½δ), e = ŷ − y (Huber, Annals of Mathematical Statistics 35,
    1964).
    """
    error = abs(prediction.value - label)
    return Objective(
        name, tf.where(error <= delta, error**2 / 2, delta * (error - delta / 2)), mask
    )
