"""Predictions (probabilities in log space), labels on their sample spaces, and the losses that any
number of replicas shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from features.spec import Spec

TINY = 1e-7  # a quotient of probabilities stays so far below 1, in the logarithm
Labels = TypeVar("Labels", tf.Tensor, np.ndarray)


class Probability(NamedTuple):
    """log p and log(1 − p), each [B]: neither saturates where p or 1 − p would round to 0."""

    log_p: tf.Tensor
    log_not_p: tf.Tensor


class Value(NamedTuple):
    """A number [B] in the unit of its label."""

    value: tf.Tensor


class Hidden(NamedTuple):
    """A number [B] that an objective needs and nobody is served."""

    value: tf.Tensor


Prediction = Probability | Value | Hidden


def from_logit(z: tf.Tensor) -> Probability:
    """p = σ(z)."""
    return Probability(tf.math.log_sigmoid(z), tf.math.log_sigmoid(-z))


def joint(first: Probability, second: Probability) -> Probability:
    """p = p₁·p₂, so log(1 − p) = log((1 − p₁) + p₁·(1 − p₂)), a sum of positive terms."""
    return Probability(
        first.log_p + second.log_p, log_add(first.log_not_p, first.log_p + second.log_not_p)
    )


def either(p: Probability, first: Probability, second: Probability) -> Probability:
    """p·p₁ + (1 − p)·p₂: the first's with probability p, else the second's."""
    happens = log_add(p.log_p + first.log_p, p.log_not_p + second.log_p)
    return Probability(happens, log_add(p.log_p + first.log_not_p, p.log_not_p + second.log_not_p))


def quotient(joint: Probability, given: Probability) -> Probability:
    """p = p_joint / p_given, at most 1: an estimated joint may be likelier than what it implies."""
    log_p = tf.minimum(joint.log_p - given.log_p, -TINY)
    return Probability(log_p, tf.math.log(-tf.math.expm1(log_p)))


def unweighted(p: Probability, positive_weight: float) -> Probability:
    """p·r / (1 − p + r·p), r = 1/positive_weight: what p would be had positives weighed 1 in its
    cross-entropy.
    """
    if positive_weight == 1:
        return p
    log_p = p.log_p - math.log(positive_weight)
    whole = log_add(log_p, p.log_not_p)
    return Probability(log_p - whole, p.log_not_p - whole)


def log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """log(e^a + e^b). Where a = b each gets half of the gradient; a maximum in its place would give
    it all to one.
    """
    return tf.reduce_logsumexp(tf.stack([a, b]), 0)


@dataclass(frozen=True)
class Objective:
    """The mean of `losses` [B], one a row, over its sample space, the rows where `mask` is true.

    `over`, where given, are the rows whose number is the denominator in the place of the sample
    space's: all rows, for estimators that weight their space to stand for them. `penalty`, where it
    is one, is the funnel's option that holds its coefficient: no weighting weighs it.
    `nonnegative_with`, where the mean may be negative, is what would make it at least 0.
    """

    name: str
    losses: tf.Tensor
    mask: tf.Tensor
    over: tf.Tensor | None = None
    penalty: str | None = None
    nonnegative_with: str | None = None

    def sums(self, weight: tf.Tensor | float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
        """(Σ w·loss over the sample space, Σ w over the denominator's rows); `weight` [B] is how
        many rows each stands for.
        """
        losses = tf.where(self.mask, self.losses * weight, tf.zeros_like(self.losses))
        over = self.mask if self.over is None else self.over
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(over, tf.float32) * weight)


def cross_entropy(
    name: str, p: Probability, label: tf.Tensor, mask: tf.Tensor, positive_weight: float = 1.0
) -> Objective:
    """−[w₁·y·log p + (1 − y)·log(1 − p)] over the rows of `mask`; label [B] holds 0 and 1 there.

    `positive_weight` w₁ is in the sum alone, not in the number of rows that it is divided by.
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


def own_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task on its own sample space: the rows whose label is known and whose
    `given` label is 1.
    """
    declared = spec.tasks[task]
    label = labels[declared.label]
    return label, label >= 0 if declared.given is None else (label >= 0) & (
        labels[declared.given] == 1
    )


def entire_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task's joint over all rows: 1 if the whole chain happened, 0 if any step
    is known not to have.

    The label of a task declared `label_is_joint` is that of its joint already.
    """
    label, at = labels[spec.tasks[task].label], task
    while not spec.tasks[at].label_is_joint and spec.parent(at) is not None:
        at = spec.parent(at)
        label = both(labels[spec.tasks[at].label], label)
    return label, label >= 0


def both(a: Labels, b: Labels) -> Labels:
    """a and b in {−1 unknown, 0, 1}: 0 if either is 0, else −1 if either is unknown, else 1:
    |a|·|b|·min(a, b).
    """
    return abs(a) * abs(b) * ((a + b - abs(a - b)) // 2)
