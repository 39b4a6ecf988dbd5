"""The bases of options: what every sharing, funnel, weighting and rule of tables answers."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from features.errors import FunnelError, nearest
from features.settings import Settings
from features.spec import Spec
from model.settings.networks import HiddenUnits, NetworkParams


class ObjectiveTraits(NamedTuple):
    """What the check of a configuration reads of an objective.

    Args:
        name: what the weighting, the reports and the options call it.
        heads: the heads whose representations it reaches.
        penalty: for a penalty, the funnel's option with its coefficient; a weighting leaves it out.
        nonnegative_with: where the mean may be negative, the option that makes it at least 0.
    """

    name: str
    heads: Set[str]
    penalty: str | None = None
    nonnegative_with: str | None = None


class SharingParams(NetworkParams):
    """Options that every sharing has."""

    @property
    def shares_embeddings(self) -> bool:
        """Whether all heads read the same embeddings."""
        return True

    def head_groups(self, heads: list[str]) -> list[set[str]]:
        """For each network of dense weights: the heads that read it."""
        return [set(heads)]

    def check(self, spec: Spec) -> None:
        """Raises FunnelError where it cannot be built over these features."""

    def check_heads(self, heads: list[str]) -> None:
        """Raises FunnelError where it cannot be built for these heads."""


class FunnelParams(NetworkParams):
    """Options that every funnel has.

    Args:
        tower_units: the hidden units of the towers, for all heads or by head, as in
            { ctr = [64], cvr = [32] }.
    """

    tower_units: HiddenUnits | Annotated[dict[str, HiddenUnits], Field(min_length=1)] = Field([64])

    def units_of(self, head: str) -> list[int]:
        return self.tower_units[head] if isinstance(self.tower_units, dict) else self.tower_units

    def heads_of(self, spec: Spec) -> list[str]:
        """The names of the representations that the funnel reads."""
        return list(spec.tasks)

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits] | None:
        """The objectives of the funnel over tasks that pass `check`, in their order.

        Returns:
            None: only the funnel's graph tells, which takes TensorFlow.
        """
        return None

    def check(self, spec: Spec) -> None:
        """Raises FunnelError where the funnel cannot be built over these tasks."""
        heads = self.heads_of(spec)
        if isinstance(self.tower_units, dict):
            for head in heads:
                if head not in self.tower_units:
                    raise FunnelError(
                        f"model.funnel.tower_units lacks '{head}': give units to each of "
                        f"{', '.join(heads)}"
                    )
            for head in self.tower_units:
                if head not in heads:
                    raise FunnelError(
                        f"model.funnel.tower_units names '{head}', which is not a head: "
                        f"{nearest(head, heads)}"
                    )


class WeightingParams(Settings):
    """Options that every weighting has: only its name; and what it needs of a model."""

    # Needs per-objective gradients: one extra backward pass each. Then `balance` is implemented.
    needs_task_gradients: ClassVar[bool] = False
    # Those gradients are with respect to the last layer that all heads share, not to all dense
    # weights that several objectives reach.
    uses_last_shared_layer: ClassVar[bool] = False
    needs_nonnegative_losses: ClassVar[bool] = False
    # The weights of `balance` apply to shared dense weights only; elsewhere the weight is 1.
    shared_weights_only: ClassVar[bool] = False

    name: str = ""

    def check(self, objectives: list[str]) -> None:
        """Raises FunnelError when an option does not fit the objectives."""

    def check_steps(self, steps: int) -> None:
        """Raises FunnelError where a training of that many steps ends before weights change."""


class RuleParams(Settings):
    """Options that every rule of tables has: only its name."""

    name: str = ""
