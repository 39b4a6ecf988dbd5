"""Training with evaluations and exports in between."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import FunnelError
from features.files import write_text
from model.data.input import InputFn
from model.estimator.estimator import RankingEstimator
from model.estimator.session import Ended, Trained
from model.evaluation.conditions import Metrics
from model.training.progress import Callback, Progress
from model.training.workers import worker

# (estimator, metrics, step, whether it is the end) → the published version, or None
Exporter = Callable[[RankingEstimator, Metrics, int, bool], Path | None]


@dataclass(frozen=True)
class TrainSpec:
    """What is trained on.

    Args:
        input_fn: makes the training batches.
        max_steps: the step to train to.
        callbacks: called at each report and with each evaluation's metrics.

    Example:
        TrainSpec(data.train_input(batch_size=4096, shuffle_buffer=10_000, seed=1), max_steps=1000)
    """

    input_fn: InputFn
    max_steps: int
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True)
class EvalSpec:
    """What is evaluated, and when.

    Args:
        input_fn: makes the batches of the evaluation.
        every_steps: steps between evaluations; the last is at the end.
        exporters: called after each evaluation, on worker 0 only.
        callbacks: called with each evaluation's metrics.

    Example:
        EvalSpec(data.eval_input(batch_size=4096), every_steps=500, exporters=[exporter])
    """

    input_fn: InputFn
    every_steps: int
    exporters: Sequence[Exporter] = ()
    callbacks: Sequence[Callback] = ()


def train_and_evaluate(
    estimator: RankingEstimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[Trained, Metrics | None]:
    """Trains to `max_steps` and evaluates on the way.

    - A callback that returns True, at a report or at an evaluation, ends the training. The
      exporters are then called for the end.
    - A signal ends the training without an evaluation or an export, since the run is to resume
      later. A signal during an evaluation waits for it and its exporters.
    - An evaluation due at the restored checkpoint but not completed runs first.

    Args:
        estimator: the model.
        train_spec: what is trained on.
        eval_spec: what is evaluated.

    Returns:
        (how the training ended, the last metrics); None for the metrics where a signal came first.

    Raises:
        FunnelError: every_steps is less than 1, or as RankingEstimator.train.

    Example:
        trained, metrics = train_and_evaluate(estimator, train_spec, eval_spec)
    """
    if eval_spec.every_steps < 1:
        raise FunnelError(f"EvalSpec.every_steps = {eval_spec.every_steps}: must be at least 1")
    every = eval_spec.every_steps
    metrics: Metrics | None = None
    # Restores the latest checkpoint: its step decides what is due.
    trained = estimator.train(train_spec.input_fn, steps=0)
    evaluated, step = _Evaluated(estimator.model_dir / "evaluated.json"), trained.step
    due = step > 0 and (step % every == 0 or step >= train_spec.max_steps)
    missed = estimator.any_worker(due and evaluated.step < step)
    evaluated.set(min(evaluated.step, step))  # later evaluations will run again
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
        callbacks = [*train_spec.callbacks, *eval_spec.callbacks]
        stop = estimator.any_worker(new and _report(trained.report, metrics, callbacks))
        ended: Ended = "callback" if stop and trained.ended == "steps" else trained.ended
        final = ended != "steps" or step >= train_spec.max_steps
        for exporter in eval_spec.exporters if worker() == 0 else ():
            exporter(estimator, metrics, step, final)
        evaluated.set(step)
        # A barrier: a worker that ended while the chief exports would take it down.
        estimator.any_worker(False)
        if final:
            return dataclasses.replace(trained, ended=ended), metrics


class _Evaluated:
    """The last step whose evaluation has been reported and exported, in a file that the chief
    writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step = json.loads(path.read_text())["step"] if path.exists() else 0

    def set(self, step: int) -> None:
        if step != self.step and worker() == 0:
            write_text(self.path, json.dumps({"step": step}) + "\n")
        self.step = step


def _report(report: Progress, metrics: Metrics, callbacks: Sequence[Callback]) -> bool:
    """Calls the callbacks with the metrics; whether one of them ends the training."""
    progress = dataclasses.replace(report, metrics=metrics)
    # Every callback is called, even where the first ends the training.
    stops = [callback(progress) for callback in callbacks]
    return any(stops)
