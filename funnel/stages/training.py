"""The training that a configuration file describes: estimator, inputs, callbacks, exporters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import tensorflow as tf

from features.errors import FunnelError
from funnel.config.config import Config
from funnel.listener import listener
from funnel.stages.stage import inform, warn
from model.data.input import Data, InputFn
from model.estimator.callbacks import EarlyStopping, MetricsLog, Profile, TensorBoard, last_fall
from model.estimator.callbacks.held_out_loss import AN_EPOCH, EarlyStop
from model.estimator.estimator import RankingEstimator
from model.estimator.exporters import BestExporter, FinalExporter, LatestExporter
from model.estimator.model_json import ModelJson
from model.estimator.ranking_config import RankingConfig
from model.estimator.session import Trained
from model.estimator.train_and_evaluate import EvalSpec, Exporter, TrainSpec, train_and_evaluate
from model.estimator.warm_start import WarmStart
from model.training.progress import Callback
from model.training.workers import worker, workers

FALLING = 0.01  # relative fall of the training loss from one window of steps to the next


def warm_start_of(config: Config) -> WarmStart | None:
    """The run that [warm_start] names, if it names one."""
    start = config.warm_start
    return WarmStart(Path(start.run) / "model", start.refresh_statistics) if start.run else None


def suited(
    config: Config,
    data: Data | None = None,
    model_dir: Path | None = None,
    *,
    from_scratch: bool = False,
) -> RankingConfig:
    """The configuration over its data, with values for the options that suit the number of rows.

    After a warm start these are the values of the earlier run.
    """
    data = data or Data(config.source, config.spec, config.run_config.cache_gib)
    start = warm_start_of(config)
    first = from_scratch or start is None
    own = None if first else ModelJson(model_dir or config.model_dir).read()
    earlier = own["chosen"] if own else start.chosen if start else None
    return RankingConfig.of(data, config.model, config.train, earlier)


def trained_estimator(config: Config) -> RankingEstimator:
    """The estimator of a finished training. It reads the model directory alone, except to fit a
    calibration that no stage has asked for yet, which needs the preprocessed data.

    Raises:
        FunnelError: The model directory holds no checkpoint.
    """
    trained = RankingConfig.restored(config.model_dir)
    ranking = replace(trained, spec=config.spec, model=config.model)  # as configured, or refused
    return RankingEstimator(
        ranking,
        config.model_dir,
        config.run_config,
        held_out_input=lambda context: Run(config).held_out_input(context),
        warn=warn,
        inform=inform,
    )


class Run:
    """A training: the estimator of a configuration, and the inputs of both splits.

    Args:
        data: The preprocessed directory; by default the run's own.
        model_dir: The model directory; by default the run's own.
        from_scratch: Replace the checkpoints that are there.
    """

    def __init__(
        self,
        config: Config,
        data: Path | str | None = None,
        model_dir: Path | None = None,
        *,
        from_scratch: bool = False,
    ) -> None:
        self.config, run = config, config.run_config
        self.model_dir, source = model_dir or config.model_dir, data or config.source
        self.data = Data(source, config.spec, run.cache_gib, verify=run.verify)
        self.ranking = suited(config, self.data, self.model_dir, from_scratch=from_scratch)
        self.estimator = RankingEstimator(
            self.ranking,
            self.model_dir,
            run,
            from_scratch=from_scratch,
            warm_start=warm_start_of(config),
            held_out_input=self.held_out_input if self.ranking.held_out else None,
            warn=warn,
            inform=inform,
        )

    @property
    def _batch_size(self) -> int:
        size = self.ranking.train.batch_size
        if size is None:
            raise RuntimeError("RankingConfig.of leaves no batch size open")
        return size

    @property
    def max_steps(self) -> int:
        held_out = (
            int(self.data.held_out(self.ranking.held_out).sum()) if self.ranking.held_out else 0
        )
        return self.ranking.train.total_steps(self.data.rows("train") - held_out)

    @cached_property
    def train_input(self) -> InputFn:
        train = self.ranking.train
        return self.data.train_input(
            batch_size=self._batch_size,
            shuffle_buffer=train.shuffle_buffer,
            seed=train.seed,
            held_out=self.ranking.held_out,
        )

    @cached_property
    def eval_input(self) -> InputFn:
        return self.data.eval_input(batch_size=self._batch_size)

    @cached_property
    def held_out_input(self) -> InputFn:
        """The training rows that are not trained on."""
        return self.data.held_out_input(batch_size=self._batch_size, held_out=self.ranking.held_out)

    def prepare(self) -> int:
        """Makes the next step ready, which fixes the devices and removes what a training from
        scratch replaces.

        Returns:
            The step reached.
        """
        return self.estimator.train(self.train_input, steps=0).step

    def train(self, own: Sequence[Callback] = ()) -> Trained:
        """Trains to the configured step, and evaluates and publishes on the way as configured.

        Args:
            own: Callbacks besides those of the configuration.
        """
        self.config.run_config.check_steps(self.max_steps)
        evaluation, begins = self.config.evaluation, self.prepare()
        with self._callbacks(begins) as configured:
            callbacks = [*configured, *own]
            if not (evaluation.every or self._exporters):
                return self.estimator.train(
                    self.train_input, max_steps=self.max_steps, callbacks=callbacks
                )
            train_spec = TrainSpec(self.train_input, self.max_steps, callbacks)
            eval_spec = EvalSpec(
                self.eval_input, evaluation.every or self.max_steps, self._exporters, self._stopping
            )
            return train_and_evaluate(self.estimator, train_spec, eval_spec)[0]

    def still_falling(self) -> str | None:
        """A line if the training loss fell by more than FALLING from the window before the last to
        the last.
        """
        found = last_fall(self.model_dir / "metrics.jsonl", self.config.run_config.log_every)
        if found is None or self.ranking.train.early_stop or found[2] > (1 - FALLING) * found[1]:
            return None
        step, before, last = found
        return (
            f"the training loss was still falling at step {step:,}: {before:.4f} → {last:.4f} over "
            f"the last {self.config.run_config.log_every:,} steps; more epochs may help, and "
            "train.early_stop = true finds out"
        )

    @contextmanager
    def _callbacks(self, begins: int) -> Iterator[list[Callback]]:
        """The progress bar, and the callbacks that write files. Only worker 0 has any."""
        run_config = self.config.run_config
        with listener().training() as bar:
            if worker():
                yield []
                return
            (log := MetricsLog(self.model_dir / "metrics.jsonl")).forget_after(begins)
            callbacks: list[Callback] = [*self._early_stop(), bar, log]
            board = TensorBoard(self.model_dir / "tensorboard") if run_config.tensorboard else None
            profile = (
                Profile(self.model_dir / "profile", *run_config.profile)
                if run_config.profile
                else None
            )
            if profile:
                profile.reached(begins)
            try:
                yield callbacks + [callback for callback in (board, profile) if callback]
            finally:
                for callback in (board, profile):
                    if callback:
                        callback.close()

    def _early_stop(self) -> list[Callback]:
        """The callback that ends the training by its held-out rows, if one is configured."""
        if not self.ranking.train.early_stop:
            return []
        if workers() > 1:
            raise FunnelError(
                f"train.early_stop = true with {workers()} workers: one process computes the "
                "held-out loss; leave it out, or give evaluation.early_stopping"
            )
        total, epochs = self.max_steps, self.ranking.train.epochs
        every = max(1, round(total / epochs / AN_EPOCH) if epochs else total // 20)

        def held_out() -> tf.data.Dataset:
            return self.held_out_input(tf.distribute.InputContext())

        return [
            EarlyStop(self.model_dir / "early_stop", held_out, every=every, last=total, say=inform)
        ]

    @cached_property
    def _stopping(self) -> list[Callback]:
        options = self.config.evaluation.early_stopping
        if options is None:
            return []
        stopping = EarlyStopping(
            options.metric, patience=options.patience, min_delta=options.min_delta
        )
        stopping.resume(self.model_dir / "metrics.jsonl")
        return [stopping]

    @cached_property
    def _exporters(self) -> list[Exporter]:
        options, folder = self.config.exporters, self.config.run / "exporters"
        found: list[Exporter] = []
        if options.latest:
            found.append(LatestExporter(folder / "latest", keep=options.latest.keep))
        if options.best:
            found.append(
                BestExporter(
                    folder / "best",
                    metric=options.best.metric,
                    provided=options.best.provided,
                    keep=options.best.keep,
                )
            )
        if options.final:
            found.append(FinalExporter(folder / "final"))
        return found
