"""What the model and its training are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from features.errors import nearest
from features.settings import Settings
from features.spec import Spec
from model.funnels import FUNNELS
from model.funnels.base import FunnelParams
from model.sharing import SHARING
from model.sharing.base import SharingParams
from model.weighting import WEIGHTING
from model.weighting.base import WeightingParams


class ModelConfig(Settings):
    """The architecture on its two axes, and how its objectives are weighed. Each table names an entry of its dict and holds that
    entry's own Params.
    """

    sharing: SerializeAsAny[SharingParams] = Field({"name": "mmoe"})
    funnel: SerializeAsAny[FunnelParams] = Field({"name": "independent"})
    weighting: SerializeAsAny[WeightingParams] = Field({"name": "fixed"})

    def check(self, spec: Spec) -> None:
        """Raises FunnelError when the features and tasks do not fit the architecture."""
        funnel = FUNNELS[self.funnel.name]
        funnel.check(self.funnel, spec)
        self.sharing.check(spec)
        self.sharing.check_heads(funnel.heads_of(self.funnel, spec))
        self.weighting.check(self.objectives(spec))

    def objectives(self, spec: Spec) -> list[str]:
        """The names of what is minimised."""
        return FUNNELS[self.funnel.name].objective_names(self.funnel, spec)

    @field_validator("sharing", mode="before")
    @classmethod
    def _sharing(cls, value: Any) -> Any:
        return _params(value, SHARING)

    @field_validator("funnel", mode="before")
    @classmethod
    def _funnel(cls, value: Any) -> Any:
        return _params(value, FUNNELS)

    @field_validator("weighting", mode="before")
    @classmethod
    def _weighting(cls, value: Any) -> Any:
        return _params(value, WEIGHTING)


def _params(value: Any, known: Mapping[str, Any]) -> Any:
    """{"name": …, options} or the bare name → the Params of the entry of that name."""
    value = {"name": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return value
    name = value.get("name")
    if name not in known:
        raise ValueError(f"name = {name!r} is unknown: {nearest(str(name), known, listed=True)}")
    return known[name].Params.model_validate(dict(value))


class TrainConfig(Settings):
    """How training runs. `batch_size` is global: replicas share it out.

    Tables are trained by Adagrad at `embedding_learning_rate`, everything else by Adam at `learning_rate`. `cpu_devices`
    makes that many logical CPU devices and a replica on each; without it all GPUs are used, or else one device.
    """

    batch_size: int = Field(4096, ge=1)
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    learning_rate: float = Field(0.001, gt=0)
    embedding_learning_rate: float = Field(0.05, gt=0)
    seed: int = 1
    shuffle_buffer: int = Field(10_000, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(3, ge=1)
    log_every: int = Field(100, ge=1)
    cpu_devices: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_epoch(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("steps") is None and data.get("epochs") is None:
            return dict(data) | {"epochs": 1.0}
        return data

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.epochs:
            raise ValueError(f"steps = {self.steps} and epochs = {self.epochs} both say how long to train: give one of them")
        return self

    def total_steps(self, rows: int) -> int:
        """The number of steps for a training split of `rows` rows."""
        return self.steps or max(1, round(self.epochs * rows / self.batch_size))
