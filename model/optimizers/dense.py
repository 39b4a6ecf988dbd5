"""Keras' optimizers by name, for everything that is not an embedding table."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf
from pydantic import ConfigDict, model_validator

from features.errors import FunnelError, nearest
from features.settings import Settings

KINDS: dict[str, type[keras.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adagrad": keras.optimizers.Adagrad,
    "adamax": keras.optimizers.Adamax,
    "ftrl": keras.optimizers.Ftrl,
    "lion": keras.optimizers.Lion,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
OURS = ("learning_rate", "clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor", "gradient_accumulation_steps", "name")


class DenseParams(Settings):
    """`name` of the optimizer, and options as Keras' class of that name takes them."""

    model_config = ConfigDict(extra="allow")

    name: str = "adam"

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        """Keras' signatures know the options of each."""
        if not isinstance(data, dict):
            return data
        name, options = data.get("name", "adam"), {key: value for key, value in data.items() if key != "name"}
        if name not in KINDS:
            raise ValueError(f"name = {name!r} is unknown: {nearest(str(name), KINDS, listed=True)}")
        for key in options:
            if key in OURS:
                raise ValueError(f"{key} is said beside the optimizer, in train: see train.learning_rate and train.clip_norm")
        for key in options:
            if key not in _options(name):
                raise ValueError(f"keras.optimizers.{KINDS[name].__name__} has no option '{key}': {nearest(key, _options(name))}")
        return data

    def make(self) -> keras.Optimizer:
        """The optimizer; its learning rate is set at each step. Its name, which its variables bear, is that of the configuration."""
        try:
            return KINDS[self.name](**self.model_extra, learning_rate=1.0, name=self.name)
        except (TypeError, ValueError) as error:
            raise FunnelError(f"train.optimizer = {self.model_dump()}: Keras refuses its options ({error})") from None


def optimizer_state(optimizer: keras.Optimizer) -> dict[str, tf.Variable]:
    """Its variables by name. One that Keras leaves nameless (nadam's) would be called by the number of such variables in the process: it
    goes by its place among the optimizer's.
    """
    own = f"{optimizer.name}/"
    return {v.path if v.path.startswith(own) else f"{own}{i}": v.value for i, v in enumerate(optimizer.variables)}


def _options(name: str) -> list[str]:
    """What Keras' class and its base can be told. (To make one would fix TensorFlow's devices.)"""
    known = [*inspect.signature(KINDS[name].__init__).parameters, *inspect.signature(keras.Optimizer.__init__).parameters]
    return [key for key in dict.fromkeys(known) if key not in (*OURS, "self", "kwargs")]
