"""Schedules: the factor of the learning rate at each step."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from features.settings import Settings


class Warm(Settings):
    """`warm_up_steps` W: before step W the factor is multiplied by (t + 1)/W."""

    warm_up_steps: int = Field(default=0, ge=0)

    def decay(self, t: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(t)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The factor of the learning rate in step t = 0, 1, …, a float32."""
        t = tf.cast(step, tf.float32)
        warm = tf.minimum(1.0, (t + 1) / self.warm_up_steps) if self.warm_up_steps else 1.0
        return self.decay(t) * warm


class Constant(Warm):
    """1."""

    name: Literal["constant"] = "constant"


class Exponential(Warm):
    """rate^(t / steps), the exponent rounded down where `staircase`."""

    name: Literal["exponential"]
    decay_rate: float = Field(gt=0, le=1)
    decay_steps: int = Field(ge=1)
    staircase: bool = False

    def decay(self, t: tf.Tensor) -> tf.Tensor:
        exponent = t / self.decay_steps
        return self.decay_rate ** (tf.floor(exponent) if self.staircase else exponent)


class Cosine(Warm):
    """α + (1 − α)·½(1 + cos(π·min(t, steps)/steps)): Loshchilov and Hutter, SGDR, ICLR 2017, one
    period.
    """

    name: Literal["cosine"]
    decay_steps: int = Field(ge=1)
    alpha: float = Field(0.0, ge=0, le=1)

    def decay(self, t: tf.Tensor) -> tf.Tensor:
        done = tf.minimum(t / self.decay_steps, 1.0)
        return self.alpha + (1 - self.alpha) * (1 + tf.cos(math.pi * done)) / 2


Schedule = Annotated[Constant | Exponential | Cosine, Field(discriminator="name")]
