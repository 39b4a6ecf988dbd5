"""Training with evaluations in between, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import FunnelError
from model.estimator import InputFn, RankingEstimator, Trained
from model.progress import Action
from model.workers import worker

Metrics = dict[str, dict[str, float | None]]
Exporter = Callable[[RankingEstimator, Metrics, int, bool], Path | None]  # (estimator, metrics, step, at the end?) → what it published


@dataclass(frozen=True)
class TrainSpec:
    """What is trained on and until which step; `actions` are told of every report."""

    input_fn: InputFn
    max_steps: int
    actions: Sequence[Action] = ()


@dataclass(frozen=True)
class EvalSpec:
    """What is evaluated, every how many steps and at the end; `exporters` are called after each evaluation, `actions` told its metrics."""

    input_fn: InputFn
    every_steps: int
    exporters: Sequence[Exporter] = ()
    actions: Sequence[Action] = ()


def train_and_evaluate(estimator: RankingEstimator, train_spec: TrainSpec, eval_spec: EvalSpec) -> tuple[Trained, Metrics | None]:
    """Trains to `max_steps` and evaluates on the way; returns how training ended and the last metrics, None where a signal came first.

    An action that returns True, at a report or at an evaluation, ends the training: the exporters are then called for the end. After a
    signal nothing more is evaluated or exported: the run is to go on later. One during an evaluation waits for it
    and its exporters. Of several workers the first alone exports.
    """
    if eval_spec.every_steps < 1:
        raise FunnelError(f"EvalSpec.every_steps = {eval_spec.every_steps}: must be at least 1")
    every, step, metrics = eval_spec.every_steps, estimator.latest_step(), None
    while True:
        until = min((step // every + 1) * every, train_spec.max_steps)
        trained = estimator.train(train_spec.input_fn, max_steps=until, actions=train_spec.actions)
        if trained.ended == "signal":
            return trained, metrics
        step, metrics = trained.step, estimator.evaluate(eval_spec.input_fn)
        asked = estimator.agreed(_tell(estimator, trained, metrics, [*train_spec.actions, *eval_spec.actions]))
        ended = "action" if asked and trained.ended == "steps" else trained.ended
        final = ended != "steps" or step >= train_spec.max_steps
        for exporter in eval_spec.exporters if worker() == 0 else ():
            exporter(estimator, metrics, step, final)
        estimator.agreed(False)  # no worker goes, and takes the others down, while the first exports
        if final:
            return dataclasses.replace(trained, ended=ended), metrics


def _tell(estimator: RankingEstimator, trained: Trained, metrics: Metrics, actions: Sequence[Action]) -> bool:
    """Gives the metrics to the actions; whether one of them ends the training."""
    if trained.report is None:  # nothing was left to train
        return False
    progress = dataclasses.replace(trained.report, metrics=metrics)
    asked = [action(progress) for action in actions]  # all of them, even where the first ends the training
    return any(asked)
