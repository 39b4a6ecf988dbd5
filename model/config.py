"""Model configuration: the architecture, and how its objectives are weighted."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from features.errors import FunnelError
from features.settings import Settings
from features.spec import Spec
from model.funnels import FUNNELS
from model.optimizers import RULES
from model.registry import Registry, entry_params, named
from model.settings.base import FunnelParams, ObjectiveTraits, SharingParams, WeightingParams
from model.sharing import SHARING
from model.weighting import WEIGHTING

AXES: Mapping[str, Registry[Any]] = {
    "sharing": SHARING,
    "funnel": FUNNELS,
    "weighting": WEIGHTING,
}


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

    def check(self, spec: Spec) -> list[ObjectiveTraits]:
        """The objectives that are minimized.

        Raises:
            FunnelError: the features and tasks do not fit the architecture.
        """
        self.funnel.check(spec)
        self.sharing.check(spec)
        heads = self.funnel.heads_of(spec)
        self.sharing.check_heads(heads)
        found = self.funnel.objectives_of(spec)
        if found is None:
            found = FUNNELS[self.funnel.name].probe_objectives(self.funnel, spec)
        self._check_weighting(found, heads)
        return found

    def _check_weighting(self, found: list[ObjectiveTraits], heads: list[str]) -> None:
        reached = {o.name: o.heads for o in found if o.penalty is None}
        self._check_penalties({o.name: o.penalty for o in found if o.penalty}, list(reached))
        self.weighting.check(list(reached))
        for objective in found:
            if self.weighting.needs_nonnegative_losses and objective.nonnegative_with:
                raise FunnelError(
                    f"model.weighting = '{self.weighting.name}' needs losses that are at least 0, "
                    f"and that of '{objective.name}' may be negative: choose another weighting, "
                    f"or model.funnel.{objective.nonnegative_with}"
                )
        if self.weighting.needs_task_gradients:
            self._check_compared(heads, reached)

    def _check_penalties(self, penalties: dict[str, str], objectives: list[str]) -> None:
        for option, value in self.weighting:
            for name in value if isinstance(value, dict) else ():
                if name in penalties:
                    raise FunnelError(
                        f"model.weighting.{option} names '{name}', a penalty, which has no "
                        f"weight but its own coefficient: set model.funnel.{penalties[name]} "
                        f"(objectives: {', '.join(objectives)})"
                    )

    def _check_compared(self, heads: list[str], reached: Mapping[str, Set[str]]) -> None:
        """Raises FunnelError where no weights have gradients that the weighting could compare."""
        groups = self.sharing.head_groups(heads)
        if self.weighting.uses_last_shared_layer:
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
        return entry_params(value, AXES[str(info.field_name)])


def needs_tensorflow(model: Mapping[str, Any], train: Mapping[str, Any]) -> bool:
    """Whether [model] or [train] names an entry whose options are only in the entry's own file.

    Example:
        >>> needs_tensorflow({"sharing": "ple"}, {"embedding_optimizer": {"name": "ftrl"}})
        False
    """
    given = [(model.get(axis), known) for axis, known in AXES.items()]
    given.append((train.get("embedding_optimizer"), RULES))
    tables = [(named(value), known) for value, known in given]
    return any(
        known.imports(table.get("name")) for table, known in tables if isinstance(table, Mapping)
    )
