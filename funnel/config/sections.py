"""Sections of the configuration that belong to the command alone: what a training begins with, is
measured by and publishes.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from features.settings import Settings


class EarlyStopping(Settings):
    """Training ends after `patience` evaluations in which `metric`, as in "ctcvr auc", did not
    improve by more than `min_delta`.
    """

    metric: str
    patience: int = Field(3, ge=1)
    min_delta: float = Field(0.0, ge=0)


class EvaluationConfig(Settings):
    """`truth` is a simulation's truth.parquet: the drawn conversion of every impression, clicked or
    not.

    `every` so many steps of a training its eval split is evaluated; without it once, afterwards.
    """

    truth: str | None = None
    every: int | None = Field(None, ge=1)
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _stops_by_evaluations(self) -> Self:
        if self.early_stopping and not self.every:
            raise ValueError(
                "early_stopping looks at evaluations during training: say with `every` after how many steps they are made"
            )
        return self


class Latest(Settings):
    """An export after each evaluation; the newest `keep` stay."""

    keep: int = Field(5, ge=1)


class Final(Settings):
    """An export at the end of the training."""


class Best(Settings):
    """An export whenever `metric`, as in "ctcvr auc", is better than ever while all of `provided`
    hold, as in "ctr auc >= 0.7".
    """

    metric: str
    provided: list[str] = Field([])
    keep: int = Field(1, ge=1)


class Exporters(Settings):
    """What is published during a training, in exporters/<name> of the run's directory."""

    latest: Latest | None = None
    final: Final | None = None
    best: Best | None = None


class WarmStartConfig(Settings):
    """`run` is the directory of another run, whose latest checkpoint a new training begins with;
    see model.estimator.warm_start.
    """

    run: str | None = None
    refresh_statistics: bool = False
