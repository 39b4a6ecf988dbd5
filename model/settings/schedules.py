"""Options of the schedules; see model.optimizers.schedules for what they compute."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.settings import Settings


class Warm(Settings):
    """`warm_up_steps` W: before step W the factor is multiplied by (t + 1)/W."""

    warm_up_steps: int = Field(default=0, ge=0)


class Constant(Warm):
    """1."""

    name: Literal["constant"] = "constant"


class Exponential(Warm):
    """rate^(t / steps), the exponent rounded down where `staircase`."""

    name: Literal["exponential"]
    decay_rate: float = Field(gt=0, le=1)
    decay_steps: int = Field(ge=1)
    staircase: bool = False


class Cosine(Warm):
    """α + (1 − α)·½(1 + cos(π·min(t, steps)/steps)): Loshchilov and Hutter, SGDR, ICLR 2017, one
    period.
    """

    name: Literal["cosine"]
    decay_steps: int = Field(ge=1)
    alpha: float = Field(0.0, ge=0, le=1)


Schedule = Annotated[Constant | Exponential | Cosine, Field(discriminator="name")]
