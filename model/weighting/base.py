"""The base of weightings, which give each objective's loss its weight."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from model.settings.base import WeightingParams

# By objective and shared weight, summed over replicas.
Gradients = list[list[tf.Tensor]]


class Weighting(tf.Module):
    """The base of weightings: w_1 … w_K by objective. Σ w_k·L_k is minimized, L_k the loss over the
    whole batch of all replicas.

    Penalties are not among the objectives; their weight is 1. A subclass declares its options and
    what it needs in `Params`, and implements `current`. The variables of `state` are kept in
    checkpoints; `advance` updates them after each step.

    Args:
        params: the options.
        objectives: the names of the K objectives.
    """

    Params: type[WeightingParams]

    def __init__(self, params: WeightingParams, objectives: list[str]) -> None:
        super().__init__()
        self.params, self.objectives = params, objectives

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {}

    @property
    def trained(self) -> list[tf.Variable]:
        """Variables that the dense optimizer trains with the gradients of `trained_gradients`."""
        return []

    def trained_gradients(
        self, losses: tf.Tensor, present: tf.Tensor, replicas: int
    ) -> list[tf.Tensor]:
        """This replica's share of the gradients of `trained`.

        Args:
            losses: [K], this replica's share.
            present: [K], whether an objective has a row in the batch.
            replicas: how many there are.
        """
        return []

    def current(self) -> tf.Tensor:
        """The weights [K] of the next step, or of the last one where they follow from gradients."""
        raise TypeError(f"{type(self).__name__} must implement current()")

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        """The weights [K] of this step, where `params.needs_task_gradients`.

        Args:
            gradients: 0 of an objective without a row in the batch.
            losses: [K], of all replicas.
        """
        raise TypeError(f"{type(self).__name__} must implement balance(gradients, losses)")

    def advance(self, losses: tf.Tensor, present: tf.Tensor) -> None:
        """Updates `state` after a step.

        Args:
            losses: [K], of all replicas.
            present: [K], whether an objective has a row in the batch.
        """
        return  # AutoGraph warns that it cannot convert a body of only a docstring

    def _kept(self, value: tf.Tensor, name: str) -> tf.Variable:
        """A variable to which every replica assigns the same value."""
        return tf.Variable(
            value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )


def by_name(given: Mapping[str, float], objectives: list[str], default: float = 1.0) -> tf.Tensor:
    """What is given for each objective, [K]."""
    return tf.constant([given.get(name, default) for name in objectives], tf.float32)


def gram(gradients: Gradients) -> tf.Tensor:
    """The inner products g_j · g_k [K, K] in float64: of float32, GPUs multiply some ten bits."""
    flat = tf.stack([tf.concat([tf.reshape(g, [-1]) for g in own], 0) for own in gradients])
    flat = tf.cast(flat, tf.float64)
    return tf.matmul(flat, flat, transpose_b=True)
