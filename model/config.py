"""What the model is told: its architecture, and how its objectives are weighed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializeAsAny, field_validator

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
        return entry_params(value, SHARING)

    @field_validator("funnel", mode="before")
    @classmethod
    def _funnel(cls, value: Any) -> Any:
        return entry_params(value, FUNNELS)

    @field_validator("weighting", mode="before")
    @classmethod
    def _weighting(cls, value: Any) -> Any:
        return entry_params(value, WEIGHTING)


def entry_params(value: Any, known: Mapping[str, Any]) -> Any:
    """{"name": …, options} or the bare name → the Params of the entry of that name."""
    value = {"name": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return value
    name = value.get("name")
    if name not in known:
        raise ValueError(f"name = {name!r} is unknown: {nearest(str(name), known, listed=True)}")
    return known[name].Params.model_validate(dict(value))
