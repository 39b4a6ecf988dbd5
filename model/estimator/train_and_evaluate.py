"""Training with evaluations in between, and what follows from them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import FunnelError
from model.estimator.estimator import InputFn, RankingEstimator, Trained
from model.training.progress import Callback, Progress
from model.training.workers import worker

Metrics = dict[str, dict[str, float | None]]
Exporter = Callable[
    [RankingEstimator, Metrics, int, bool], Path | None
]  # (estimator, metrics, step, at the end?) → what it published


@dataclass(frozen=True)
class TrainSpec:
    """What is trained on and until which step; `callbacks` are told of every report."""

    input_fn: InputFn
    max_steps: int
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True)
class EvalSpec:
    """What is evaluated, every how many steps and at the end; `exporters` are called after each
    evaluation, `callbacks` told its metrics.
    """

    input_fn: InputFn
    every_steps: int
    exporters: Sequence[Exporter] = ()
    callbacks: Sequence[Callback] = ()


def train_and_evaluate(
    estimator: RankingEstimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[Trained, Metrics | None]:
    """Trains to `max_steps` and evaluates on the way; returns how training ended and the last
    metrics, None where a signal came first.

    A callback that returns True, at a report or at an evaluation, ends the training: the exporters
    are then called for the end. After a signal nothing more is evaluated or exported: the run is to
    go on later. One during an evaluation waits for it and its exporters. Of several workers the
    first alone exports. An evaluation that was due at the checkpoint that training goes on from,
    and that a killed process did not end, is made up first.
    """
    if eval_spec.every_steps < 1:
        raise FunnelError(f"EvalSpec.every_steps = {eval_spec.every_steps}: must be at least 1")
    every, metrics = eval_spec.every_steps, None
    trained = estimator.train(
        train_spec.input_fn, steps=0
    )  # from which step it goes on is known once it is restored
    evaluated, step = _Evaluated(estimator.model_dir / "evaluated.json"), trained.step
    due = step > 0 and (step % every == 0 or step >= train_spec.max_steps)
    missed = estimator.agreed(due and evaluated.step < step)
    evaluated.until(min(evaluated.step, step))  # those of later steps will be made again
    while True:
        if not missed:
            until = min((step // every + 1) * every, train_spec.max_steps)
            trained = estimator.train(
                train_spec.input_fn, max_steps=until, callbacks=train_spec.callbacks
            )
        if trained.ended == "signal":
            return trained, metrics
        step, metrics, missed = trained.step, estimator.evaluate(eval_spec.input_fn), False
        new = evaluated.step < step  # else nothing was left to train
        asked = estimator.agreed(
            new and _tell(trained.report, metrics, [*train_spec.callbacks, *eval_spec.callbacks])
        )
        ended = "callback" if asked and trained.ended == "steps" else trained.ended
        final = ended != "steps" or step >= train_spec.max_steps
        for exporter in eval_spec.exporters if worker() == 0 else ():
            exporter(estimator, metrics, step, final)
        evaluated.until(step)
        estimator.agreed(
            False
        )  # no worker goes, and takes the others down, while the first exports
        if final:
            return dataclasses.replace(trained, ended=ended), metrics


class _Evaluated:
    """Up to which step every evaluation has been told and exported: in a file that the first worker
    writes, whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step = json.loads(path.read_text())["step"] if path.exists() else 0

    def until(self, step: int) -> None:
        if step != self.step and worker() == 0:
            unfinished = self.path.with_name(f".{self.path.name}")
            unfinished.write_text(json.dumps({"step": step}) + "\n")
            os.replace(unfinished, self.path)
        self.step = step


def _tell(report: Progress, metrics: Metrics, callbacks: Sequence[Callback]) -> bool:
    """Gives the metrics to the callbacks; whether one of them ends the training."""
    progress = dataclasses.replace(report, metrics=metrics)
    asked = [
        callback(progress) for callback in callbacks
    ]  # all of them, even where the first ends the training
    return any(asked)
