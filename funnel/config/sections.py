"""Sections that only the command reads: warm start, evaluation, exporters."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from features.settings import PathText, Settings


class EarlyStopping(Settings):
    """Training ends after `patience` evaluations without an improvement of `metric`, as in
    "ctcvr auc", by more than `min_delta`.
    """

    metric: str
    patience: int = Field(3, ge=1)
    min_delta: float = Field(0.0, ge=0)


class EvaluationConfig(Settings):
    """How a training is evaluated.

    Args:
        truth: A simulation's truth.parquet: the drawn conversion of every impression, clicked or
            not.
        every: Evaluate on the eval split every so many steps. Without it, once after training.
        early_stopping: End the training by these evaluations.
    """

    truth: PathText | None = None
    every: int | None = Field(None, ge=1)
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _stops_by_evaluations(self) -> Self:
        if self.early_stopping and not self.every:
            raise ValueError(
                "early_stopping needs evaluations during training: give `every`, how many steps "
                "apart they are"
            )
        return self


class Latest(Settings):
    """An export after each evaluation; the newest `keep` are kept."""

    keep: int = Field(5, ge=1)


class Final(Settings):
    """An export at the end of the training."""


class Best(Settings):
    """An export whenever `metric`, as in "ctcvr auc", is the best so far and all conditions in
    `provided` hold, as in "ctr auc >= 0.7".
    """

    metric: str
    provided: list[str] = Field([])
    keep: int = Field(1, ge=1)


class Exporters(Settings):
    """Exports made during a training, in exporters/<name> of the run's directory."""

    latest: Latest | None = None
    final: Final | None = None
    best: Best | None = None


class WarmStartConfig(Settings):
    """`run` is the directory of another run, from whose latest checkpoint a new training starts.

    With `refresh_statistics` the statistics of the features are those of the new rows.
    """

    run: PathText | None = None
    refresh_statistics: bool = False

    @model_validator(mode="after")
    def _refreshes_a_run(self) -> Self:
        if self.refresh_statistics and self.run is None:
            raise ValueError(
                "refresh_statistics = true chooses between the statistics of two runs: give run, "
                "or leave it out"
            )
        return self
