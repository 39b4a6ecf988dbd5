"""Options of networks of dense layers, as configurations give them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from features.settings import Settings

Units = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
HiddenUnits = list[Annotated[int, Field(ge=1)]]  # may be empty


class NetworkParams(Settings):
    """Options of every network of dense layers; see model.layers.network."""

    # Options that other parts than the layers of `*units` read, too.
    used_elsewhere: ClassVar[frozenset[str]] = frozenset()

    name: str = ""
    activation: Literal[
        "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"
    ] = "relu"
    normalize: Literal["none", "batch", "layer"] = "none"
    dropout: float = Field(0.0, ge=0, lt=1)
    l2: float = Field(0.0, ge=0)
    residual: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_batch_norm(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "batch_norm" in data:
            old = json.dumps(data["batch_norm"], default=str)
            new = "batch" if data["batch_norm"] else "none"
            remedy = f"write normalize = '{new}' instead"
            raise ValueError(f"batch_norm = {old}: the option is now normalize; {remedy}")
        return data

    @property
    def _units(self) -> dict[str, Any]:
        """The units of its networks, of its LSTMs and crosses included, by option."""
        fields = type(self).model_fields
        return {name: getattr(self, name) for name in fields if name.endswith("units")}

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        units = {name: value for name, value in self._units.items() if not isinstance(value, int)}
        if not units or any(map(_has_layers, units.values())):
            return self
        options = {"activation", "normalize", "dropout", "l2"} - self.used_elsewhere
        for name in self.changed(*sorted(options)):
            shown = ", ".join(f"{key} = {value}" for key, value in units.items())
            raise ValueError(
                f"{name} = {getattr(self, name)!r} is for hidden layers, and {shown} gives none: "
                f"give units, or leave {name} out"
            )
        return self

    @model_validator(mode="after")
    def _check_residual(self) -> Self:
        units = self._units
        if self.residual and not any(_has_equal_neighbors(value) for value in units.values()):
            shown = ", ".join(
                f"{name} = {value}" for name, value in units.items() if not isinstance(value, int)
            )
            raise ValueError(
                "residual = true joins layers of one width, but no two neighbors have it in "
                f"{shown}; give two the same width, or leave residual out"
            )
        return self

    @property
    def network(self) -> dict[str, Any]:
        """The options as the blocks of model.layers take them."""
        return {name: getattr(self, name) for name in NetworkParams.model_fields if name != "name"}


def _has_layers(units: Any) -> bool:
    """Whether a network, or one of several by head, has a hidden layer."""
    return any(units.values()) if isinstance(units, dict) else bool(units)


def _has_equal_neighbors(units: Any) -> bool:
    """Whether two layers in a row have one width, in a network or in one of several by head."""
    networks = units.values() if isinstance(units, dict) else [units]
    return any(
        one == following
        for network in networks
        if isinstance(network, list)
        for one, following in itertools.pairwise(network)
    )
