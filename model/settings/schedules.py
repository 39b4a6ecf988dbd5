"""Options of the schedules; see model.optimizers.schedules for what they compute."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from features.errors import FunnelError
from features.settings import Settings


class Warm(Settings):
    """`warm_up_steps` W: before step W the factor is multiplied by (t + 1)/W."""

    warm_up_steps: int = Field(default=0, ge=0)

    @field_validator("warm_up_steps")
    @classmethod
    def _check_warm_up(cls, value: int) -> int:
        if value == 1:
            raise ValueError("the first of 1 step has the factor 1: give at least 2, or leave out")
        return value

    def check_steps(self, steps: int) -> None:
        """Raises FunnelError where an option has no effect within that many steps."""


class Constant(Warm):
    """1."""

    name: Literal["constant"] = "constant"


class Exponential(Warm):
    """rate^(t / steps), the exponent rounded down where `staircase`."""

    name: Literal["exponential"]
    decay_rate: float = Field(gt=0, lt=1)
    decay_steps: int = Field(ge=1)
    staircase: bool = False

    @model_validator(mode="after")
    def _check_staircase(self) -> Self:
        if self.staircase and self.decay_steps == 1:
            raise ValueError(
                "staircase = True rounds t / decay_steps down, and decay_steps = 1 gives whole "
                "numbers: give more steps, or leave staircase out"
            )
        return self

    def check_steps(self, steps: int) -> None:
        if self.staircase and steps <= self.decay_steps:
            raise FunnelError(
                f"train.schedule.decay_steps = {self.decay_steps}: the training has {steps} steps, "
                "so the staircase never comes to its first step down; lower it, or leave schedule "
                "out"
            )


class Cosine(Warm):
    """α + (1 − α)·½(1 + cos(π·min(t, steps)/steps)): Loshchilov and Hutter, SGDR, ICLR 2017, one
    period.
    """

    name: Literal["cosine"]
    decay_steps: int = Field(ge=1)
    alpha: float = Field(0.0, ge=0, lt=1)


Schedule = Annotated[Constant | Exponential | Cosine, Field(discriminator="name")]
