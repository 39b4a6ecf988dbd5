"""The outer loop: batches in, checkpoints and metrics out. Files only; the tensors are the
trainer's.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from model import calibration
from model.calibration import CalibrationMap
from model.data.id_check import checked, explained
from model.estimator.checkpoints import (
    Checkpoints,
    first_readable,
    latest_complete,
    listed,
    read_into,
    step_of,
)
from model.estimator.diagnosis import check_finite
from model.estimator.model_json import Identity, RankingConfig
from model.estimator.warm_start import WarmStart
from model.evaluation import metrics
from model.evaluation.gates import GateSums
from model.evaluation.gates import alarms as gate_alarms
from model.evaluation.health import ActivationSums, alarms, sum_units
from model.objectives.base_rates import BaseRates
from model.ranking import RankingModel
from model.serving.export import Export, export
from model.training.config import RunConfig
from model.training.interrupts import Interrupts
from model.training.progress import Callback, Progress, Reporter
from model.training.strategy import (
    check_agreement,
    check_restored,
    input_context,
    least,
    make_strategy,
)
from model.training.trainer import Trainer
from model.training.workers import worker, workers

InputFn = Callable[[tf.distribute.InputContext], tf.data.Dataset]
Say = Callable[[str], None]
# batches made ahead; not on the GPU itself, where tf.data cannot tell its position for a checkpoint
READY = 2
RESPONSIVE = 2.0  # seconds that a signal may wait for the steps under way


@dataclass(frozen=True)
class Trained:
    """How a training ended: at which step, why, and its last report; one of no steps where there
    was nothing left to train.
    """

    step: int
    ended: Literal["steps", "callback", "data", "signal"]
    report: Progress


@dataclass(frozen=True)
class _Session:
    """A training that goes on when `train` is called again with the same input."""

    input_fn: InputFn
    trainer: Trainer
    batches: Any
    checkpoints: Checkpoints


class RankingEstimator:
    """Trains, evaluates, predicts and exports, in the manner of tf.estimator.

    `model_dir` receives checkpoints/ and model.json, which says what the checkpoints are of. A
    directory whose model.json says otherwise is refused with a FunnelError. `anew`: whatever is
    there is replaced, once a new training is ready to begin. `warm_start`: where a training begins
    that has no checkpoint yet. `held_out_input`: the rows that tasks with `calibrate` are
    calibrated on. `warn` gets, in a line each, what the user should know, `inform` in what numbers
    and on how many replicas a training computes.
    """

    def __init__(
        self,
        config: RankingConfig,
        model_dir: Path | str,
        run_config: RunConfig | None = None,
        *,
        anew: bool = False,
        warm_start: WarmStart | None = None,
        held_out_input: InputFn | None = None,
        warn: Say = print,
        inform: Say = print,
    ) -> None:
        self.config, self.model_dir, self.run_config = (
            config,
            Path(model_dir),
            run_config or RunConfig(),
        )
        self.anew, self.warm_start, self.warn, self.inform = anew, warm_start, warn, inform
        self.held_out_input = held_out_input
        self.identity = Identity(self.model_dir)
        self._session: _Session | None = None
        if warm_start is not None and warm_start.model_dir.resolve() == self.model_dir.resolve():
            raise FunnelError(
                f"{self.model_dir}: is both trained and started from; give another run directory, or no warm start"
            )
        known = None if anew else self.identity.known()
        begins = warm_start is not None and known is None
        self.fitted = (
            warm_start.fitted(config)
            if begins
            else config.fitted
            if anew
            else self.identity.fitted(config)
        )

    @property
    def checkpoint_dir(self) -> Path:
        return self.model_dir / "checkpoints"

    def train(
        self,
        input_fn: InputFn,
        *,
        steps: int | None = None,
        max_steps: int | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Trained:
        """Trains `steps` more, or until step `max_steps`, from the latest checkpoint if there is
        one.

        The checkpoint holds the model, the optimizers, the step and the position in the input: a
        training that was interrupted ends with the weights of one that was not. Ends early where an
        callback returns True, where the input is exhausted, or on SIGTERM: each time with a
        checkpoint.
        """
        if (steps is None) == (max_steps is None):
            raise FunnelError(
                f"train(steps = {steps}, max_steps = {max_steps}): give one of them, how many more or until which"
            )
        session, self._session = self._session, None  # not kept where an error ends the training
        if session is None or session.input_fn is not input_fn:
            session = self._begin(input_fn)
        for callback in callbacks:
            if hasattr(callback, "watch"):
                callback.watch(session.trainer)
        try:
            total = max_steps if max_steps is not None else session.trainer.reached + steps
            check_agreement(session.trainer.strategy, {"steps": total})
            trained = self._loop(session, total, callbacks)
        finally:
            session.checkpoints.close()
        session.trainer.barrier()  # other workers may read what the first has written
        self._session = session
        return trained

    def _begin(self, input_fn: InputFn) -> _Session:
        """A training ready for its next step: from the latest checkpoint, or another run's, or
        anew; an error leaves what is there.
        """
        config, run = self.config, self.run_config
        strategy = make_strategy(run.cpu_devices)
        trainer = Trainer(config.spec, config.model, config.train, self.fitted, strategy)
        mode = {"precision": trainer.mode.precision, "xla": trainer.mode.xla}
        for line in BaseRates(config.spec, self.fitted.outcomes).warnings():
            self.warn(line)
        self.inform(f"training in {trainer.mode}, replicas: {trainer.replicas}")
        others = {
            "mode": mode,
            "fitted": self.fitted.model_dump(mode="json"),
            "run": run.model_dump(mode="json", exclude={"cache_gib"}),
        }
        check_agreement(strategy, config.identity | config.course | others)
        if not self.anew:
            self.identity.check_course(config, mode)
        batches = iter(
            checked(input_fn(input_context(strategy)), config.spec, self.fitted).prefetch(READY)
        )
        begins = self.anew or not listed(self.checkpoint_dir)
        if begins and self.warm_start:
            self.warm_start.apply(trainer.state, config.spec, self.fitted, self.warn)
        trainer.barrier()  # all are ready
        if worker() == 0:
            if self.anew and self.model_dir.exists():
                shutil.rmtree(self.model_dir)
            self.identity.write(config, self.fitted, mode)
        self.anew = False
        trainer.barrier()  # what was there is gone
        checkpoints = Checkpoints(
            self.checkpoint_dir,
            trainer.state,
            keep=run.keep_checkpoints,
            background=run.async_checkpoints,
            worker=worker(),
            workers=workers(),
        )
        restored = None if begins else checkpoints.restore(batches, self.warn)
        check_restored(strategy, restored or 0)
        return _Session(input_fn, trainer, batches, checkpoints)

    def _loop(self, session: _Session, total: int, callbacks: Sequence[Callback]) -> Trained:
        run, trainer = self.run_config, session.trainer
        step = saved = trainer.reached
        saved_at, ended = time.monotonic(), "steps"
        reporter = Reporter(trainer, total, run.log_every)
        cuts = sorted({cut for callback in callbacks for cut in getattr(callback, "cuts", ())})
        with Interrupts() as interrupts:
            while step < total and ended == "steps":
                until = min(
                    _next(step, run.log_every),
                    _next(step, run.checkpoint_every),
                    total,
                    step + reporter.within(RESPONSIVE),
                )
                until = least(
                    trainer.strategy, min([until, *(cut for cut in cuts if cut > step)])
                )  # paces and cuts are each worker's own
                step = self._stretch(session, until - step, reporter)
                ended = (
                    "data"
                    if step < until
                    else "signal"
                    if trainer.any_worker(interrupts.asked)
                    else "steps"
                )
                last = ended != "steps" or step == total
                told = last or step % run.log_every == 0 or trainer.any_worker(step in cuts)
                asked = told and trainer.any_worker(reporter.tell(callbacks))
                ended = "callback" if asked and ended == "steps" else ended
                due = run.checkpoint_minutes is not None and trainer.any_worker(
                    time.monotonic() - saved_at >= 60 * run.checkpoint_minutes
                )
                if step > saved and (last or asked or due or step % run.checkpoint_every == 0):
                    session.checkpoints.save(step, session.batches, trainer.barrier)
                    saved, saved_at = step, time.monotonic()
        return Trained(step, ended, reporter.last)

    def _stretch(self, session: _Session, count: int, reporter: Reporter) -> int:
        """Takes up to `count` steps; returns the step that it reached: an earlier one where the
        input ended.
        """
        begun, trainer = time.perf_counter(), session.trainer
        with explained():
            stretch = trainer.steps(session.batches, tf.constant(count, tf.int64))
        check_finite(self.config, trainer, self.fitted, stretch)
        reached = trainer.reached
        reporter.add(stretch, reached, time.perf_counter() - begun)
        return reached

    def latest_step(self) -> int:
        """The step of the newest checkpoint that lacks no file, 0 without any: `train` reads it,
        and where it is broken an older one.
        """
        if self._session:
            return self._session.trainer.reached
        found = None if self.anew else latest_complete(self.checkpoint_dir, workers())
        return 0 if found is None else step_of(found)

    def agreed(self, wish: bool) -> bool:
        """Whether a worker wishes it: all of them take the same decision. After `train` alone."""
        return self._session.trainer.any_worker(wish)

    def load(self) -> RankingModel:
        """The model of the latest checkpoint, calibrated, on one device. Raises FunnelError when
        there is none.
        """
        seed = self.identity.seed(self.config)
        model = RankingModel(self.config.spec, self.config.model, self.fitted, seed)
        found = first_readable(
            self.checkpoint_dir, lambda path: read_into(model.state, path, partly=True), self.warn
        )
        if found is None:
            raise FunnelError(
                f"{self.checkpoint_dir}: holds no checkpoint; run `funnel train` first"
            )
        calibrated = [
            task for task, declared in self.config.spec.tasks.items() if declared.calibrate
        ]
        if calibrated:
            model.calibration = self._calibration(model, step_of(found), calibrated[0])
        return model

    def _calibration(self, model: RankingModel, step: int, task: str) -> dict[str, CalibrationMap]:
        """The maps for the checkpoint of a step; fitted on the held-out rows when they are first
        asked for.
        """
        path = self.model_dir / "calibration.json"
        maps = calibration.read(path, step)
        if maps is None:
            if self.held_out_input is None:
                raise FunnelError(
                    f"tasks.{task}.calibrate = '{self.config.spec.tasks[task].calibrate}' needs rows that were not trained "
                    "on: give the estimator held_out_input, Data.held_out_input with the configuration's held_out"
                )
            rows = self._scores(model, self.held_out_input)
            maps = calibration.fit_all(self.config.spec, rows, rows)
            if worker() == 0:
                calibration.write(path, step, maps)
        return maps

    def predict(self, input_fn: InputFn) -> dict[str, np.ndarray]:
        """Scores of the input's rows: {"id", "p_<name>" of each task and joint, "y_<name>" of
        numbers, each label}, [rows] each.
        """
        return self._scores(self.load(), input_fn)

    def _scores(self, model: RankingModel, input_fn: InputFn) -> dict[str, np.ndarray]:
        """What a model says of the input's rows, and what is known of them."""
        score = tf.function(
            lambda batch: model.scores(batch["ids"], batch["dense"]), autograph=False
        )
        kept = ["id", "weight", *self.config.spec.labels]
        with explained():
            batches = [
                {k: batch[k] for k in kept if k in batch} | score(batch)
                for batch in self._rows(input_fn)
            ]
        return {
            name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]
        }

    def _rows(self, input_fn: InputFn) -> tf.data.Dataset:
        """All rows of an input, in this process alone."""
        return checked(
            input_fn(tf.distribute.InputContext()), self.config.spec, self.fitted
        ).prefetch(READY)

    def evaluate(self, input_fn: InputFn) -> dict[str, dict[str, float | None]]:
        """Metrics of the latest checkpoint on the input's rows, by task and joint."""
        return self.measure(self.predict(input_fn))

    def measure(self, predictions: dict[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
        """Metrics of what `predict` returned; model/reliability.json receives the curves."""
        results = metrics.evaluate(self.config.spec, predictions, predictions)
        curves = metrics.reliability(self.config.spec, predictions, predictions)
        if worker() == 0:
            (self.model_dir / "reliability.json").write_text(json.dumps(curves) + "\n")
        return results

    def health(self, input_fn: InputFn) -> dict[str, Any]:
        """How well the latest checkpoint uses its weights, from one pass over the input's rows:
        {"gates": GateSums.summary, "layers": ActivationSums.summary, "embeddings":
        RankingModel.untouched, "alarms": [lines]}; model/health.json holds it too.
        """
        model = self.load()
        gates, layers = GateSums(model.gated_experts), ActivationSums(model.network_names)

        @tf.function(autograph=False)
        def observe(batch: dict[str, tf.Tensor]) -> tuple:
            weights, activations = model.observe(batch["ids"], batch["dense"])
            return weights, sum_units(activations)

        for batch in self._rows(input_fn):
            weights, sums = tf.nest.map_structure(lambda t: t.numpy(), observe(batch))
            gates.add(weights, len(batch["ids"]))
            layers.add(sums, len(batch["ids"]))
        found = {
            "gates": gates.summary(),
            "layers": layers.summary(),
            "embeddings": model.untouched(),
        }
        warnings = gate_alarms(found["gates"]) + alarms(found["layers"], found["embeddings"])
        found["alarms"] = warnings
        (self.model_dir / "health.json").write_text(json.dumps(found, indent=1) + "\n")
        return found

    def export_saved_model(self, export_dir: Path | str, *, version: int | None = None) -> Export:
        """The latest checkpoint as a SavedModel in export_dir/<version>: see
        model.serving.export.export.
        """
        return export(self.load(), self.config.sample, Path(export_dir), version)


def _next(step: int, every: int) -> int:
    """The next multiple of `every` after `step`."""
    return (step // every + 1) * every
