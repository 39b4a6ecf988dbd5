"""Model configuration: the architecture, and how its objectives are weighted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

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


def named(value: Any) -> Any:
    """A bare name as the table that it stands for.

    Example:
        >>> named("ple")
        {'name': 'ple'}
    """
    return {"name": value} if isinstance(value, str) else value


class ModelConfig(Settings):
    """The architecture on its two axes, sharing and funnel, and the weighting of its objectives.

    Args:
        sharing: an entry of SHARING by name, with its own options.
        funnel: an entry of FUNNELS.
        weighting: an entry of WEIGHTING.
        wide: adds a linear model of all features to each head's logit; see model.embeddings.wide.

    Raises:
        FunnelError: a name or an option is unknown.

    Example:
        ModelConfig.parse({"sharing": {"name": "ple", "levels": 2}, "funnel": "esmm"})
    """

    sharing: SerializeAsAny[SharingParams] = Field(named("mmoe"))
    funnel: SerializeAsAny[FunnelParams] = Field(named("independent"))
    weighting: SerializeAsAny[WeightingParams] = Field(named("fixed"))
    wide: bool = True

    def check(self, spec: Spec) -> list[Objective]:
        """The objectives that are minimized, with the tensors of a graph that is never run.

        Raises:
            FunnelError: the features and tasks do not fit the architecture.
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
        """`found`: each objective, and the heads that it reaches."""
        kind = WEIGHTING[self.weighting.name]
        reached = {o.name: heads for o, heads in found if o.penalty is None}
        self._check_penalties({o.name: o.penalty for o, _ in found if o.penalty}, list(reached))
        self.weighting.check(list(reached))
        for objective, _ in found:
            if kind.needs_nonnegative_losses and objective.nonnegative_with:
                raise FunnelError(
                    f"model.weighting = '{self.weighting.name}' needs losses that are at least 0, "
                    f"and that of '{objective.name}' may be negative: choose another weighting, "
                    f"or model.funnel.{objective.nonnegative_with}"
                )
        if kind.needs_task_gradients:
            self._check_compared(kind, heads, reached)

    def _check_penalties(self, penalties: dict[str, str], objectives: list[str]) -> None:
        for option, value in self.weighting:
            for name in value if isinstance(value, dict) else ():
                if name in penalties:
                    raise FunnelError(
                        f"model.weighting.{option} names '{name}', a penalty, which has no "
                        f"weight but its own coefficient: set model.funnel.{penalties[name]} "
                        f"(objectives: {', '.join(objectives)})"
                    )

    def _check_compared(
        self, kind: type[Weighting], heads: list[str], reached: dict[str, set[str]]
    ) -> None:
        """Raises FunnelError where no weights have gradients that the weighting could compare."""
        groups = self.sharing.head_groups(heads)
        if kind.uses_last_shared_layer:
            what = "a layer that all of several heads share"
            found = len(heads) > 1 and set(heads) in groups
        else:
            what = "dense weights that several objectives reach"
            found = any(
                sum(not group.isdisjoint(own) for own in reached.values()) > 1 for group in groups
            )
        if not found:
            raise FunnelError(
                f"model.weighting = '{self.weighting.name}' compares gradients of {what}, and "
                f"sharing '{self.sharing.name}' with funnel '{self.funnel.name}' of "
                f"{', '.join(heads)} has none: choose another of the three"
            )

    @field_validator("sharing", "funnel", "weighting", mode="before")
    @classmethod
    def _entry(cls, value: Any, info: ValidationInfo) -> Any:
        known: dict[str, Mapping[str, Any]] = {
            "sharing": SHARING,
            "funnel": FUNNELS,
            "weighting": WEIGHTING,
        }
        return entry_params(value, known[str(info.field_name)])


def entry_params(value: Any, known: Mapping[str, Any]) -> Any:
    """The Params of an entry of a dict of architectures, from {"name": …, options} or a bare name.

    Raises:
        ValueError: the name is unknown.
    """
    value = named(value)
    if not isinstance(value, Mapping):
        return value
    name = value.get("name")
    if name is None or name not in known:
        raise ValueError(f"name = {name!r} is unknown: {nearest(str(name), known, listed=True)}")
    return known[name].Params.model_validate(dict(value))
