"""Predictions: probabilities in log space, numbers, and outputs that only objectives need."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

TINY = 1e-7  # keeps a quotient of probabilities below 1, in the logarithm


class Probability(NamedTuple):
    """log p and log(1 − p), each [B]: neither saturates where p or 1 − p would round to 0."""

    log_p: tf.Tensor
    log_not_p: tf.Tensor


class Value(NamedTuple):
    """A number [B] in the unit of its label."""

    value: tf.Tensor


class AuxiliaryOutput(NamedTuple):
    """A number [B] that an objective needs and that is not served."""

    value: tf.Tensor


Prediction = Probability | Value | AuxiliaryOutput


def probability(prediction: Prediction) -> Probability:
    """The prediction, which must be a probability."""
    if not isinstance(prediction, Probability):
        raise TypeError(f"a probability is needed here, not a {type(prediction).__name__}")
    return prediction


def number(prediction: Prediction) -> Value:
    """The prediction, which must be a number."""
    if not isinstance(prediction, Value):
        raise TypeError(f"a number is needed here, not a {type(prediction).__name__}")
    return prediction


def from_logit(z: tf.Tensor) -> Probability:
    """p = σ(z)."""
    return Probability(tf.math.log_sigmoid(z), tf.math.log_sigmoid(-z))


def joint(first: Probability, second: Probability) -> Probability:
    """p = p₁·p₂, so log(1 − p) = log((1 − p₁) + p₁·(1 − p₂)), a sum of positive terms."""
    return Probability(
        first.log_p + second.log_p, log_add(first.log_not_p, first.log_p + second.log_not_p)
    )


def either(p: Probability, first: Probability, second: Probability) -> Probability:
    """p·p₁ + (1 − p)·p₂: a mixture, the first with probability p."""
    happens = log_add(p.log_p + first.log_p, p.log_not_p + second.log_p)
    return Probability(happens, log_add(p.log_p + first.log_not_p, p.log_not_p + second.log_not_p))


def quotient(joint: Probability, given: Probability) -> Probability:
    """p = p_joint / p_given, at most 1: an estimated joint may exceed what it implies."""
    log_p = tf.minimum(joint.log_p - given.log_p, -TINY)
    return Probability(log_p, tf.math.log(-tf.math.expm1(log_p)))


def unweighted(p: Probability, positive_weight: float) -> Probability:
    """p·r / (1 − p + r·p), r = 1/positive_weight: undoes the weight of positives in the
    cross-entropy that p was trained with.
    """
    if positive_weight == 1:
        return p
    log_p = p.log_p - math.log(positive_weight)
    whole = log_add(log_p, p.log_not_p)
    return Probability(log_p - whole, p.log_not_p - whole)


def log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """log(e^a + e^b). Where a = b each gets half of the gradient; a maximum would give one all."""
    return tf.reduce_logsumexp(tf.stack([a, b]), 0)
