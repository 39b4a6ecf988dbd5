"""What the model is told: its architecture, and how its objectives are weighed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializeAsAny, field_validator

from features.errors import FunnelError, nearest
from features.settings import Settings
from features.spec import Spec
from model.funnels import FUNNELS
from model.funnels.base import FunnelParams
from model.objectives.objective import Objective
from model.sharing import SHARING
from model.sharing.base import SharingParams
from model.weighting import WEIGHTING
from model.weighting.base import Weighting, WeightingParams


class ModelConfig(Settings):
    """The architecture on its two axes, and how its objectives are weighed. Each table names an
    entry of its dict and holds that entry's own Params. `wide` adds a linear model of all features
    to each head's logit: see model.embeddings.wide.
    """

    sharing: SerializeAsAny[SharingParams] = Field({"name": "mmoe"})
    funnel: SerializeAsAny[FunnelParams] = Field({"name": "independent"})
    weighting: SerializeAsAny[WeightingParams] = Field({"name": "fixed"})
    wide: bool = True

    def check(self, spec: Spec) -> list[Objective]:
        """What is minimised; its tensors are of no batch. Raises FunnelError when the features and
        tasks do not fit the architecture.
        """
        funnel = FUNNELS[self.funnel.name]
        funnel.check(self.funnel, spec)
        self.sharing.check(spec)
        heads = funnel.heads_of(self.funnel, spec)
        self.sharing.check_heads(heads)
        found = funnel.probe_objectives(self.funnel, spec)
        self._check_weighting(found, heads)
        return [objective for objective, _ in found]

    def _check_weighting(self, found: list[tuple[Objective, set[str]]], heads: list[str]) -> None:
        kind = WEIGHTING[self.weighting.name]
        weighed = {o.name: reached for o, reached in found if o.penalty is None}
        self._check_penalties({o.name: o.penalty for o, _ in found if o.penalty}, list(weighed))
        self.weighting.check(list(weighed))
        for objective, _ in found:
            if kind.needs_nonnegative_losses and objective.nonnegative_with:
                raise FunnelError(
                    f"model.weighting = '{self.weighting.name}' is of losses that are at least 0, and that of '{objective.name}' may be "
                    f"negative: choose another weighting, or model.funnel.{objective.nonnegative_with}"
                )
        if kind.needs_task_gradients:
            self._check_compared(kind, heads, weighed)

    def _check_penalties(self, penalties: dict[str, str], weighed: list[str]) -> None:
        for option, value in self.weighting:
            for name in value if isinstance(value, dict) else ():
                if name in penalties:
                    raise FunnelError(
                        f"model.weighting.{option} names '{name}', a penalty, which has no weight but its own coefficient: "
                        f"set model.funnel.{penalties[name]} (objectives: {', '.join(weighed)})"
                    )

    def _check_compared(
        self, kind: type[Weighting], heads: list[str], weighed: dict[str, set[str]]
    ) -> None:
        """Raises FunnelError where there are no weights whose gradients the weighting could
        compare.
        """
        parts = self.sharing.head_groups(heads)
        if kind.uses_last_shared_layer:
            what, found = (
                "a layer that all of several heads share",
                len(heads) > 1 and set(heads) in parts,
            )
        else:
            what = "dense weights that several objectives reach"
            found = any(
                sum(not part.isdisjoint(reached) for reached in weighed.values()) > 1
                for part in parts
            )
        if not found:
            raise FunnelError(
                f"model.weighting = '{self.weighting.name}' compares gradients of {what}, and sharing '{self.sharing.name}' with funnel "
                f"'{self.funnel.name}' of {', '.join(heads)} has none: choose another of the three"
            )

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
