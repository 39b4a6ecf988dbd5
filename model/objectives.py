"""Predictions (probabilities in log space), labels on their sample spaces, and the losses that any number of replicas shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from features.spec import Spec

Labels = TypeVar("Labels", tf.Tensor, np.ndarray)


class Probability(NamedTuple):
    """log p and log(1 − p), each [B]: neither saturates where p or 1 − p would round to 0."""

    log_p: tf.Tensor
    log_not_p: tf.Tensor


Prediction = Probability


def from_logit(z: tf.Tensor) -> Probability:
    """p = σ(z)."""
    return Probability(tf.math.log_sigmoid(z), tf.math.log_sigmoid(-z))


def joint(first: Probability, second: Probability) -> Probability:
    """p = p₁·p₂, so log(1 − p) = log((1 − p₁) + p₁·(1 − p₂)), a sum of positive terms."""
    return Probability(first.log_p + second.log_p, log_add(first.log_not_p, first.log_p + second.log_not_p))


def log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """log(e^a + e^b). Where a = b each gets half of the gradient; a maximum in its place would give it all to one."""
    return tf.reduce_logsumexp(tf.stack([a, b]), 0)


@dataclass(frozen=True)
class Objective:
    """The mean of `losses` [B], one a row, over its sample space, the rows where `mask` is true.

    `over`, where given, are the rows whose number is the denominator in the place of the sample space's: all rows, for estimators
    that weight their space to stand for them.
    """

    name: str
    losses: tf.Tensor
    mask: tf.Tensor
    over: tf.Tensor | None = None

    def sums(self, weight: tf.Tensor | float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
        """(Σ w·loss over the sample space, Σ w over the denominator's rows); `weight` [B] is how many rows each stands for."""
        losses = tf.where(self.mask, self.losses * weight, tf.zeros_like(self.losses))
        over = self.mask if self.over is None else self.over
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(over, tf.float32) * weight)


def cross_entropy(name: str, p: Probability, label: tf.Tensor, mask: tf.Tensor) -> Objective:
    """−[y·log p + (1 − y)·log(1 − p)] over the rows of `mask`; label [B] holds 0 and 1 there."""
    y = tf.cast(label, tf.float32)
    return Objective(name, -(y * p.log_p + (1 - y) * p.log_not_p), mask)


def own_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task on its own sample space: the rows whose label is known and whose `given` label is 1."""
    declared = spec.tasks[task]
    label = labels[declared.label]
    return label, label >= 0 if declared.given is None else (label >= 0) & (labels[declared.given] == 1)


def entire_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task's joint over all rows: 1 if the whole chain happened, 0 if any step is known not to have."""
    label, parent = labels[spec.tasks[task].label], spec.parent(task)
    while parent is not None:
        label = both(labels[spec.tasks[parent].label], label)
        parent = spec.parent(parent)
    return label, label >= 0


def both(a: Labels, b: Labels) -> Labels:
    """a and b in {−1 unknown, 0, 1}: 0 if either is 0, else −1 if either is unknown, else 1: |a|·|b|·min(a, b)."""
    return abs(a) * abs(b) * ((a + b - abs(a - b)) // 2)
