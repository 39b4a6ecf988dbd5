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
CLIPPED = "train.clip_norm bounds the norm of all gradients together: give that"
AVERAGED = (
    "averages of weights are neither evaluated nor exported: remove it, and let train.schedule "
    "lower the learning rate"
)
REFUSED = {  # options of Keras that something else decides here, and what to do instead
    "learning_rate": "train.learning_rate and train.schedule decide it: give those",
    "clipnorm": CLIPPED,
    "clipvalue": CLIPPED,
    "global_clipnorm": CLIPPED,
    "use_ema": AVERAGED,
    "ema_momentum": AVERAGED,
    "ema_overwrite_frequency": AVERAGED,
    "loss_scale_factor": "train.precision = 'float16' scales losses by itself: remove it",
    "gradient_accumulation_steps": (
        "a step takes the gradients of one batch: give a larger train.batch_size"
    ),
}


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
        name, options = (
            data.get("name", "adam"),
            {key: value for key, value in data.items() if key != "name"},
        )
        if name not in KINDS:
            raise ValueError(
                f"name = {name!r} is unknown: {nearest(str(name), KINDS, listed=True)}"
            )
        for key, value in options.items():
            if key in REFUSED:
                raise ValueError(f"{key} = {value!r} is not an option here, since {REFUSED[key]}")
        for key in options:
            if key not in _options(name):
                raise ValueError(
                    f"keras.optimizers.{KINDS[name].__name__} has no option '{key}': "
                    f"{nearest(key, _options(name))}"
                )
        _check_effect(name, options)
        return data

    def make(self) -> keras.Optimizer:
        """The optimizer; its learning rate is set at each step. Its name, which its variables bear,
        is that of the configuration.
        """
        try:
            return KINDS[self.name](**(self.model_extra or {}), learning_rate=1.0, name=self.name)
        except (TypeError, ValueError) as error:
            raise FunnelError(
                f"train.optimizer = {self.model_dump()}: Keras refuses its options ({error})"
            ) from None


def optimizer_state(optimizer: keras.Optimizer) -> dict[str, tf.Variable]:
    """Its variables by name. One that Keras leaves nameless (nadam's) would be called by the number
    of such variables in the process: it goes by its place among the optimizer's.
    """
    own = f"{optimizer.name}/"
    return {
        v.path if v.path.startswith(own) else f"{own}{i}": v.value
        for i, v in enumerate(optimizer.variables)
    }


def _check_effect(name: str, options: dict[str, Any]) -> None:
    """Raises ValueError for options that Keras takes and then does not use."""
    if name == "sgd" and options.get("nesterov") and not options.get("momentum"):
        raise ValueError(
            "nesterov = True changes nothing where momentum is 0: give momentum, or remove it"
        )
    if name == "ftrl" and options.get("weight_decay"):
        raise ValueError(
            f"weight_decay = {options['weight_decay']!r} does not make FTRL's weights decay, "
            "since each step computes them from its accumulators: give "
            "l2_regularization_strength"
        )


def _options(name: str) -> list[str]:
    """The options of Keras' class that may be given, without making one, which would fix
    TensorFlow's devices.
    """
    known = inspect.signature(KINDS[name].__init__).parameters
    return [key for key in known if key not in (*REFUSED, "self", "name", "kwargs")]
