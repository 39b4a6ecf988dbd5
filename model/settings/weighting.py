"""Options of the weightings, and WEIGHTING_PARAMS: them all by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from features.errors import FunnelError, nearest
from model.settings.base import WeightingParams

NonNegative = Annotated[float, Field(ge=0)]
# Objectives of pareto: 2¹² − 1 systems of 13 equations take about 40 ms of two cores; each further
# objective doubles that.
MOST = 12


class FixedParams(WeightingParams):
    """Options of model.weighting.fixed."""

    weights: dict[str, NonNegative] = Field({})

    def check(self, objectives: list[str]) -> None:
        check_names(self.weights, objectives, "weights")


class DecayParams(WeightingParams):
    """Options of model.weighting.decay."""

    weights: dict[str, NonNegative] = Field({})
    gamma: dict[str, NonNegative] = Field({})

    def check(self, objectives: list[str]) -> None:
        check_names(self.weights, objectives, "weights")
        check_names(self.gamma, objectives, "gamma")


class UncertaintyParams(WeightingParams):
    """Options of model.weighting.uncertainty."""

    # A negative loss would decrease its s without bound.
    needs_nonnegative_losses: ClassVar[bool] = True


class DWAParams(WeightingParams):
    """Options of model.weighting.dwa."""

    # Else a ratio of losses does not say how fast they fall.
    needs_nonnegative_losses: ClassVar[bool] = True

    period: int = Field(100, ge=1)
    temperature: float = Field(2.0, gt=0)

    def check(self, objectives: list[str]) -> None:
        if len(objectives) == 1:
            raise FunnelError(
                f"model.weighting = 'dwa' compares how fast losses fall, and '{objectives[0]}' is "
                "the only objective, so its weight stays 1: leave weighting out"
            )

    def check_steps(self, steps: int) -> None:
        if steps < 2 * self.period:
            raise FunnelError(
                f"model.weighting.period = {self.period}: weights change after two periods, and "
                f"the training has {steps} steps: give a period of at most {max(1, steps // 2)}"
            )


class GradNormParams(WeightingParams):
    """Options of model.weighting.gradnorm."""

    needs_task_gradients: ClassVar[bool] = True
    uses_last_shared_layer: ClassVar[bool] = True

    asymmetry: float = Field(1.5, ge=0)
    learning_rate: float = Field(0.025, gt=0)


class ParetoParams(WeightingParams):
    """Options of model.weighting.pareto."""

    needs_task_gradients: ClassVar[bool] = True

    at_least: dict[str, NonNegative] = Field({})

    def check(self, objectives: list[str]) -> None:
        check_names(self.at_least, objectives, "at_least")
        if sum(self.at_least.values()) > 1:
            raise FunnelError(
                f"model.weighting.at_least sums to {sum(self.at_least.values()):g}, and all "
                "weights to 1: lower the bounds"
            )
        if len(objectives) > MOST:
            raise FunnelError(
                f"model.weighting = 'pareto' weighs at most {MOST} objectives, since its "
                f"cost doubles with each, and there are {len(objectives)}: choose another "
                "weighting, as 'gradnorm', or fewer tasks"
            )


class PCGradParams(WeightingParams):
    """Options of model.weighting.pcgrad."""

    needs_task_gradients: ClassVar[bool] = True
    shared_weights_only: ClassVar[bool] = True

    seed: int = Field(1, ge=0)

    def check(self, objectives: list[str]) -> None:
        if len(objectives) < 3 and self.changed("seed"):
            raise FunnelError(
                f"model.weighting.seed = {self.seed} draws the order of projections, and of "
                f"{' and '.join(objectives)} each meets only the other: leave it out"
            )


WEIGHTING_PARAMS: Mapping[str, type[WeightingParams]] = {
    "fixed": FixedParams,
    "decay": DecayParams,
    "uncertainty": UncertaintyParams,
    "dwa": DWAParams,
    "gradnorm": GradNormParams,
    "pareto": ParetoParams,
    "pcgrad": PCGradParams,
}


def check_names(given: Mapping[str, float], objectives: list[str], option: str) -> None:
    """Raises FunnelError when an option names something that is not an objective."""
    for name in given:
        if name not in objectives:
            raise FunnelError(
                f"model.weighting.{option} names '{name}', which is not an objective: "
                f"{nearest(name, objectives)}"
            )
