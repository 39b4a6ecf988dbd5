"""RankingEstimator: trains, evaluates, predicts and exports, from and to files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.files import discard, resolved, write_text
from features.fitted import Fitted
from model import calibration
from model.calibration import CalibrationMap
from model.data.id_check import checked
from model.data.input import InputFn
from model.estimator.checkpoint_files import first_readable, listed, read_into, step_of
from model.estimator.checkpoints import Checkpoints
from model.estimator.evaluations import evaluation_of, measure
from model.estimator.model_json import ModelJson
from model.estimator.ranking_config import RankingConfig
from model.estimator.session import Session, Trained
from model.estimator.warm_start import WarmStart
from model.evaluation.conditions import Metrics
from model.evaluation.health import measure_health
from model.evaluation.scores import score
from model.objectives.base_rates import BaseRates
from model.ranking import RankingModel
from model.serving.export import Export, export
from model.training.collectives import check_agreement, check_restored
from model.training.config import RunConfig
from model.training.progress import Callback
from model.training.strategy import input_context, make_strategy
from model.training.trainer import Trainer
from model.training.workers import worker, workers

Say = Callable[[str], None]
OnRows = Callable[[int], None]  # with the number of rows so far
# Batches are prefetched in host memory: on a GPU tf.data could not save its position.
PREFETCHED = 2


class RankingEstimator:
    """Trains, evaluates, predicts and exports, in the manner of tf.estimator.

    `model_dir` receives checkpoints/ and model.json, which identifies them.

    Args:
        config: features, architecture and training. RankingConfig.of makes it for a training,
            RankingConfig.restored for a model that is there.
        model_dir: the directory of the model.
        run_config: checkpoints, reports and devices, which do not change the results.
        from_scratch: replace what `model_dir` holds, once the new training is ready to begin.
        warm_start: where a training starts from that has no checkpoint yet.
        held_out_input: the rows that tasks with `calibrate` are calibrated on.
        warn: receives a line for each thing that the user should know.
        inform: receives a line about precision and replicas.

    Raises:
        FunnelError: the checkpoints in `model_dir` belong to another spec or model.

    Example:
        data = Data("runs/mine/data", spec)
        config = RankingConfig.of(data, ModelConfig.parse({"sharing": "ple"}), train)
        estimator = RankingEstimator(config, "runs/mine/model")
        batches = data.train_input(batch_size=4096, shuffle_buffer=10_000, seed=1)
        estimator.train(batches, max_steps=1000)
        estimator.export_saved_model("runs/mine/export")
    """

    def __init__(
        self,
        config: RankingConfig,
        model_dir: Path | str,
        run_config: RunConfig | None = None,
        *,
        from_scratch: bool = False,
        warm_start: WarmStart | None = None,
        held_out_input: InputFn | None = None,
        warn: Say = print,
        inform: Say = print,
    ) -> None:
        self.config, self.model_dir = config, Path(model_dir)
        self.run_config = run_config or RunConfig()
        self.from_scratch, self.warm_start = from_scratch, warm_start
        self.warn, self.inform = warn, inform
        self.held_out_input = held_out_input
        self.model_json = ModelJson(self.model_dir)
        self._session: Session | None = None
        self._loaded: int | None = None  # the step of the checkpoint that was loaded last
        if warm_start is not None and warm_start.model_dir.resolve() == self.model_dir.resolve():
            raise FunnelError(
                f"{self.model_dir}: is both trained and started from; give another run directory, "
                "or no warm start"
            )
        self.fitted = self._fitted()

    def _fitted(self) -> Fitted:
        """The statistics of the checkpoint that training, or prediction, begins with."""
        known = None if self.from_scratch else self.model_json.fitted(self.config.identity)
        if known is not None:
            return known
        return self.warm_start.fitted(self.config) if self.warm_start else self.config.fitted

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
        """Trains from the latest checkpoint, or from the start if there is none.

        A checkpoint holds the model, the optimizers, the step and the position in the input, so a
        killed and resumed training ends with the same weights as an uninterrupted one. Training
        ends early where a callback returns True, where the input is exhausted, or on SIGTERM or
        SIGHUP; each time it writes a checkpoint.

        Args:
            input_fn: makes the batches of this process.
            steps: how many steps to take.
            max_steps: the step to train to; give one of the two.
            callbacks: called at each report.

        Returns:
            The step reached, why training ended, and the last report.

        Raises:
            FunnelError: a loss or gradient is not finite, the checkpoints were trained with other
                settings, or a checkpoint cannot be written.
        """
        if (steps is None) == (max_steps is None):
            raise FunnelError(
                f"train(steps = {steps}, max_steps = {max_steps}): give exactly one of them, "
                "the number of steps to take or the step to train to"
            )
        session, self._session = self._session, None  # not kept where an error ends the training
        if session is None or session.input_fn is not input_fn:
            session = self._begin(input_fn)
        trained = session.run(steps, max_steps, callbacks)
        self._session = session
        return trained

    def _begin(self, input_fn: InputFn) -> Session:
        """A training ready for its next step. An error leaves the model directory as it is."""
        config, run = self.config, self.run_config
        strategy = make_strategy(run.cpu_devices)
        trainer = Trainer(config.spec, config.model, config.train, self.fitted, strategy)
        mode = {"precision": trainer.mode.precision, "xla": trainer.mode.xla}
        for line in BaseRates(config.spec, self.fitted.outcomes).warnings():
            self.warn(line)
        self.inform(f"training in {trainer.mode}, replicas: {trainer.replicas}")
        fitted = self.fitted.model_dump(mode="json")
        others = {
            "mode": mode,
            "fitted": fitted,
            "run": run.model_dump(mode="json", exclude={"cache_gib", "verify"}),
        }
        check_agreement(strategy, config.identity | config.training_settings | others)
        if not self.from_scratch:
            self.model_json.check_resumable(config.training_settings, mode)
        batches = iter(
            checked(input_fn(input_context(strategy)), config.spec, self.fitted).prefetch(
                PREFETCHED
            )
        )
        begins = self.from_scratch or not listed(self.checkpoint_dir)
        if begins and self.warm_start:
            self.warm_start.apply(trainer.state, config.spec, self.fitted, self.warn)
        trainer.barrier()  # every worker is ready
        if worker() == 0:
            if self.from_scratch:
                discard(resolved(self.model_dir))
            content = config.identity | config.training_settings
            content |= {"mode": mode, "chosen": dict(config.chosen), "fitted": fitted}
            self.model_json.write(content, config.sample)
        self.from_scratch = False
        trainer.barrier()  # the old model is removed
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
        return Session(config, run, self.fitted, input_fn, trainer, batches, checkpoints)

    def any_worker(self, flag: bool) -> bool:
        """Whether the flag is set on any worker, so that all take the same decision. Can be called
        only after `train`.
        """
        if self._session is None:
            raise RuntimeError("any_worker(flag) needs the workers of a training: call train first")
        return self._session.trainer.any_worker(flag)

    def load(self) -> RankingModel:
        """The model of the latest checkpoint, calibrated, on one device.

        Raises:
            FunnelError: there is no checkpoint, or the calibration needs `held_out_input`.
        """
        seed = self.model_json.seed()
        seed = self.config.train.seed if seed is None else seed
        model = RankingModel(self.config.spec, self.config.model, self.fitted, seed)
        found = first_readable(
            self.checkpoint_dir, lambda path: read_into(model.state, path, partly=True), self.warn
        )
        if found is None:
            raise FunnelError(
                f"{self.checkpoint_dir}: holds no checkpoint; run `funnel train` first"
            )
        self._loaded = step_of(found)
        calibrated = [task for task, d in self.config.spec.tasks.items() if d.calibrate]
        if calibrated:
            model.calibration = self._calibration(model, self._loaded, calibrated[0])
        return model

    def _calibration(self, model: RankingModel, step: int, task: str) -> dict[str, CalibrationMap]:
        """The calibration of the checkpoint of a step. It is fitted on the held-out rows when it is
        first needed.
        """
        path = self.model_dir / "calibration.json"
        maps = calibration.read(path, step)
        if maps is None:
            if self.held_out_input is None:
                raise FunnelError(
                    f"tasks.{task}.calibrate = '{self.config.spec.tasks[task].calibrate}' needs "
                    "rows that were not trained on: give the estimator held_out_input, "
                    "Data.held_out_input with the configuration's held_out, "
                    "or run `funnel evaluate` first"
                )
            rows = score(model, self._rows(self.held_out_input))
            maps = calibration.fit_all(self.config.spec, rows, rows)
            if worker() == 0:
                calibration.write(path, step, maps)
        return maps

    def _rows(
        self, input_fn: InputFn, on_rows: OnRows | None = None
    ) -> Iterator[dict[str, tf.Tensor]]:
        """All rows of an input, read by this process, in batches."""
        batches = input_fn(tf.distribute.InputContext())
        rows = 0
        for batch in checked(batches, self.config.spec, self.fitted).prefetch(PREFETCHED):
            yield batch
            rows += len(batch["ids"])
            if on_rows:
                on_rows(rows)

    def predict(self, input_fn: InputFn, on_rows: OnRows | None = None) -> dict[str, np.ndarray]:
        """Scores of the input's rows by the latest checkpoint.

        Args:
            input_fn: makes the batches.
            on_rows: called after each batch with the number of rows scored so far.

        Returns:
            {"id", "p_<name>" of each task and joint, "y_<name>" of numbers, each label: [rows]}.
        """
        return score(self.load(), self._rows(input_fn, on_rows))

    def evaluate(self, input_fn: InputFn) -> Metrics:
        """METRICS of the latest checkpoint on the input's rows, by task and joint."""
        return self.measure(self.predict(input_fn))

    def measure(self, predictions: dict[str, np.ndarray]) -> Metrics:
        """METRICS of what `predict` returned, beside those of the training split's constants; warns
        of scores that are not better. See model.estimator.evaluations.measure.
        """
        found = measure(
            self.model_dir, self._loaded, self.config.spec, self.fitted.outcomes, predictions
        )
        for line in found[1] if worker() == 0 else ():
            self.warn(line)
        return found[0]

    def health(self, input_fn: InputFn, on_rows: OnRows | None = None) -> dict[str, Any]:
        """What model.evaluation.health.measure_health finds for the latest checkpoint on the
        input's rows; writes it to health.json. `on_rows` is called as in `predict`.
        """
        found = measure_health(self.load(), self._rows(input_fn, on_rows))
        write_text(self.model_dir / "health.json", json.dumps(found, indent=1) + "\n")
        return found

    def export_saved_model(
        self,
        export_dir: Path | str,
        *,
        version: int | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Export:
        """Writes the latest checkpoint as a SavedModel to export_dir/<version>.

        It is checked with the raw rows of the configuration or else of the model directory, and
        carries the checkpoint's evaluation. See model.serving.export.export.
        """
        sample, model = self.model_json.checked_sample(self.config.sample), self.load()
        evaluation = evaluation_of(self.model_dir, self._loaded)
        return export(model, sample, Path(export_dir), version, on_step, evaluation)
