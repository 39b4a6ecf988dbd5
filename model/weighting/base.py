"""What every weighting is: the factor that each objective's loss has in what is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from features.errors import FunnelError, nearest
from features.settings import Settings

NonNegative = Annotated[float, Field(ge=0)]
Gradients = list[
    list[tf.Tensor]
]  # of each objective with respect to each shared weight, added up over replicas


class WeightingParams(Settings):
    """Options that every weighting has: none but its name."""

    name: str = ""

    def check(self, objectives: list[str]) -> None:
        """Raises FunnelError when an option names what is no objective."""


class Weighting(tf.Module):
    """w_1 … w_K for the objectives by name: Σ w_k·L_k is minimised, L_k the loss over the whole
    batch of all replicas.

    A penalty is none of the objectives: it weighs 1. Variables of `state` are kept in checkpoints;
    `advance` moves them on after each step.
    """

    Params: type[WeightingParams]
    needs_task_gradients = (
        False  # whether it looks at each objective's own gradient: as many backward passes more
    )
    # whether those are with respect to the last layer that all heads share, not to all that several
    # objectives reach
    uses_last_shared_layer = False
    needs_nonnegative_losses = False  # whether no loss may be negative
    # whether weights that one objective alone reaches, and tables, take 1 in the place of what
    # `balance` gives
    shared_weights_only = False

    def __init__(self, params: WeightingParams, objectives: list[str]) -> None:
        super().__init__()
        self.params, self.objectives = params, objectives

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {}

    @property
    def trained(self) -> list[tf.Variable]:
        """Variables that the optimizer of the dense weights trains, with the gradients of
        `trained_gradients`.
        """
        return []

    def trained_gradients(
        self, losses: tf.Tensor, present: tf.Tensor, replicas: int
    ) -> list[tf.Tensor]:
        """This replica's share of the gradients of `trained`, from its share of the losses [K], and
        which have rows in the batch [K].
        """
        return []

    def current(self) -> tf.Tensor:
        """The weights [K] of the next step, or of the last one where they follow from gradients."""
        raise TypeError(
            f"{type(self).__name__} must say what its objectives weigh: give it current()"
        )

    def balance(self, gradients: Gradients, losses: tf.Tensor) -> tf.Tensor:
        """Where `needs_task_gradients`: the weights [K] from the gradients of shared weights and the losses
        [K] of all replicas.

        An objective without a row in the batch has the gradient 0.
        """
        raise TypeError(
            f"{type(self).__name__} must say how gradients are balanced: give it balance(gradients, losses)"
        )

    def advance(self, losses: tf.Tensor, present: tf.Tensor) -> None:
        """Takes note of a step whose losses [K], of all replicas, were these; those without a row
        in the batch are not `present` [K].
        """
        return  # AutoGraph cannot read a body of a docstring alone, and says so

    def _kept(self, value: tf.Tensor, name: str) -> tf.Variable:
        """A variable that every replica assigns the same value to."""
        return tf.Variable(
            value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )


def by_name(given: Mapping[str, float], objectives: list[str], default: float = 1.0) -> tf.Tensor:
    """[K], in the order of the objectives."""
    return tf.constant([given.get(name, default) for name in objectives], tf.float32)


def check_names(given: Mapping[str, float], objectives: list[str], option: str) -> None:
    for name in given:
        if name not in objectives:
            raise FunnelError(
                f"model.weighting.{option} names '{name}', which is not an objective: {nearest(name, objectives)}"
            )


def gram(gradients: Gradients) -> tf.Tensor:
    """The inner products g_j · g_k [K, K] in float64: of float32, GPUs multiply some ten bits."""
    flat = tf.stack([tf.concat([tf.reshape(g, [-1]) for g in own], 0) for own in gradients])
    flat = tf.cast(flat, tf.float64)
    return tf.matmul(flat, flat, transpose_b=True)
