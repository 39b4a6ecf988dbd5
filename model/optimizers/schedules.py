"""The factor of the learning rate at each step; the options are in model.settings.schedules."""

from __future__ import annotations

import math

import tensorflow as tf

from model.settings.schedules import Cosine, Exponential, Warm


def factor(schedule: Warm, step: tf.Tensor) -> tf.Tensor:
    """The factor of the learning rate in step t = 0, 1, …, a float32."""
    t = tf.cast(step, tf.float32)
    warm = tf.minimum(1.0, (t + 1) / schedule.warm_up_steps) if schedule.warm_up_steps else 1.0
    return _decay(schedule, t) * warm


def _decay(schedule: Warm, t: tf.Tensor) -> tf.Tensor:
    if isinstance(schedule, Exponential):
        exponent = t / schedule.decay_steps
        return schedule.decay_rate ** (tf.floor(exponent) if schedule.staircase else exponent)
    if isinstance(schedule, Cosine):
        done = tf.minimum(t / schedule.decay_steps, 1.0)
        return schedule.alpha + (1 - schedule.alpha) * (1 + tf.cos(math.pi * done)) / 2
    return tf.ones_like(t)
