"""Options of the optimizers of dense weights, which are Keras', as Keras' signatures have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from features.errors import nearest
from features.settings import Settings


class OptimizerOptions(Settings):
    """Options of every optimizer of Keras.

    Fields have Keras' names and defaults, and the bounds that Keras checks.
    """

    keras_name: ClassVar[str]

    weight_decay: float | None = None


class AdamOptions(OptimizerOptions):
    """Options of keras.optimizers.Adam."""

    keras_name: ClassVar[str] = "Adam"

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False


class AdamWOptions(AdamOptions):
    """Options of keras.optimizers.AdamW."""

    keras_name: ClassVar[str] = "AdamW"

    weight_decay: float = 0.004


class AdagradOptions(OptimizerOptions):
    """Options of keras.optimizers.Adagrad."""

    keras_name: ClassVar[str] = "Adagrad"

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7


class AdamaxOptions(OptimizerOptions):
    """Options of keras.optimizers.Adamax."""

    keras_name: ClassVar[str] = "Adamax"

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


class FtrlOptions(OptimizerOptions):
    """Options of keras.optimizers.Ftrl."""

    keras_name: ClassVar[str] = "Ftrl"

    learning_rate_power: float = Field(-0.5, le=0)
    initial_accumulator_value: float = Field(0.1, ge=0)
    l1_regularization_strength: float = Field(0.0, ge=0)
    l2_regularization_strength: float = Field(0.0, ge=0)
    l2_shrinkage_regularization_strength: float = Field(0.0, ge=0)
    beta: float = 0.0


class LionOptions(OptimizerOptions):
    """Options of keras.optimizers.Lion."""

    keras_name: ClassVar[str] = "Lion"

    beta_1: float = Field(0.9, gt=0, le=1)
    beta_2: float = 0.99


class NadamOptions(OptimizerOptions):
    """Options of keras.optimizers.Nadam."""

    keras_name: ClassVar[str] = "Nadam"

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


class RMSpropOptions(OptimizerOptions):
    """Options of keras.optimizers.RMSprop."""

    keras_name: ClassVar[str] = "RMSprop"

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False


class SGDOptions(OptimizerOptions):
    """Options of keras.optimizers.SGD."""

    keras_name: ClassVar[str] = "SGD"

    momentum: float = Field(0.0, ge=0, le=1)
    nesterov: bool = False


OPTIMIZERS: Mapping[str, type[OptimizerOptions]] = {
    "adam": AdamOptions,
    "adamw": AdamWOptions,
    "adagrad": AdagradOptions,
    "adamax": AdamaxOptions,
    "ftrl": FtrlOptions,
    "lion": LionOptions,
    "nadam": NadamOptions,
    "rmsprop": RMSpropOptions,
    "sgd": SGDOptions,
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

    @property
    def options(self) -> OptimizerOptions:
        """The options, those that are not given with Keras' defaults."""
        return OPTIMIZERS[self.name].model_validate(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        """The options are those of the named optimizer."""
        if not isinstance(data, dict):
            return data
        name = data.get("name", "adam")
        options = {key: value for key, value in data.items() if key != "name"}
        if not isinstance(name, str) or name not in OPTIMIZERS:
            raise ValueError(
                f"name = {name!r} is unknown: {nearest(str(name), OPTIMIZERS, listed=True)}"
            )
        kind = OPTIMIZERS[name]
        for key, value in options.items():
            if key in REFUSED:
                raise ValueError(f"{key} = {value!r} is not an option here, since {REFUSED[key]}")
        for key in options:
            if key not in kind.model_fields:
                raise ValueError(
                    f"keras.optimizers.{kind.keras_name} has no option '{key}': "
                    f"{nearest(key, kind.model_fields)}"
                )
        _check_effect(name, options)
        kind.model_validate(options)
        return data


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
