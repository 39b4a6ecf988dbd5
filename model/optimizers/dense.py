"""Keras' optimizers by name, for everything that is not an embedding table."""

from __future__ import annotations

import keras
import tensorflow as tf

from model.settings.dense import OPTIMIZERS, DenseParams

KINDS: dict[str, type[keras.Optimizer]] = {
    name: getattr(keras.optimizers, options.keras_name) for name, options in OPTIMIZERS.items()
}


def make_optimizer(params: DenseParams) -> keras.Optimizer:
    """The optimizer; its learning rate is set at each step. Its name, which its variables bear, is
    that of the configuration.
    """
    return KINDS[params.name](
        **params.options.model_dump(exclude_unset=True), learning_rate=1.0, name=params.name
    )


def optimizer_state(optimizer: keras.Optimizer) -> dict[str, tf.Variable]:
    """Its variables by name. One that Keras leaves nameless (nadam's) would be called by the number
    of such variables in the process: it goes by its place among the optimizer's.
    """
    own = f"{optimizer.name}/"
    return {
        v.path if v.path.startswith(own) else f"{own}{i}": v.value
        for i, v in enumerate(optimizer.variables)
    }
