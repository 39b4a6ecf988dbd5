"""A training in progress: steps, reports and checkpoints, until something ends it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import tensorflow as tf

from features.fitted import Fitted
from model.data.errors import explained
from model.data.input import InputFn
from model.estimator.checkpoints import Checkpoints
from model.estimator.diagnosis import check_finite
from model.estimator.ranking_config import RankingConfig
from model.training.collectives import check_agreement, min_over_workers
from model.training.config import RunConfig
from model.training.interrupts import Interrupts
from model.training.progress import Callback, Progress, Reporter, Windows
from model.training.trainer import Trainer

Ended = Literal["steps", "callback", "data", "signal"]
RESPONSIVE = 2.0  # seconds that a signal may wait for the steps under way


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Args:
        step: the step reached.
        ended: "steps" where it reached the last one, "callback" where a callback ended it, "data"
            where the input was exhausted, "signal" on SIGTERM or SIGHUP.
        report: the last report; of no steps where there was nothing left to train.
    """

    step: int
    ended: Ended
    report: Progress


@dataclass(frozen=True)
class Session:
    """A training that continues when `train` is called again with the same input."""

    config: RankingConfig
    run_config: RunConfig
    fitted: Fitted
    input_fn: InputFn
    trainer: Trainer
    batches: Any
    checkpoints: Checkpoints
    windows: Windows = field(default_factory=Windows)

    def run(
        self, steps: int | None, max_steps: int | None, callbacks: Sequence[Callback]
    ) -> Trained:
        """Trains `steps` more, or until step `max_steps`, and waits for the last checkpoint."""
        for callback in callbacks:
            if hasattr(callback, "watch"):
                callback.watch(self.trainer)
        try:
            total = max_steps if max_steps is not None else self.trainer.reached + (steps or 0)
            check_agreement(self.trainer.strategy, {"steps": total})
            trained = self._loop(total, callbacks)
        finally:
            self.checkpoints.close()
        self.trainer.barrier()  # other workers may read what the chief has written
        return trained

    def _loop(self, total: int, callbacks: Sequence[Callback]) -> Trained:
        run, trainer = self.run_config, self.trainer
        step = saved = trainer.reached
        saved_at = time.monotonic()
        ended: Ended = "steps"
        reporter = Reporter(trainer, total, run.log_every, self.windows)
        cuts = sorted({cut for callback in callbacks for cut in getattr(callback, "cuts", ())})
        with Interrupts() as interrupts:
            while step < total and ended == "steps":
                until = self._next_stop(step, total, cuts, reporter)
                step = self._take_steps(until - step, reporter)
                if step < until:
                    ended = "data"
                elif trainer.any_worker(interrupts.requested):
                    ended = "signal"
                last = ended != "steps" or step == total
                report_due = last or step % run.log_every == 0 or trainer.any_worker(step in cuts)
                stop = report_due and trainer.any_worker(reporter.report(callbacks))
                if stop and ended == "steps":
                    ended = "callback"
                minutes_over = run.checkpoint_minutes is not None and trainer.any_worker(
                    time.monotonic() - saved_at >= 60 * run.checkpoint_minutes
                )
                due = last or stop or minutes_over or step % run.checkpoint_every == 0
                if step > saved and due:
                    self.checkpoints.save(step, self.batches, trainer.barrier)
                    saved, saved_at = step, time.monotonic()
        return Trained(step, ended, reporter.last)

    def _next_stop(self, step: int, total: int, cuts: Sequence[int], reporter: Reporter) -> int:
        """The step up to which all workers run without a break: for a report, a checkpoint, a
        callback's cut, the end, or a look at signals.
        """
        until = min(
            _next_multiple(step, self.run_config.log_every),
            _next_multiple(step, self.run_config.checkpoint_every),
            total,
            step + reporter.steps_within(RESPONSIVE),
            *(cut for cut in cuts if cut > step),
        )
        # Each worker has its own pace and its own cuts.
        return min_over_workers(self.trainer.strategy, until)

    def _take_steps(self, count: int, reporter: Reporter) -> int:
        """Takes up to `count` steps; returns the step reached, an earlier one where the input
        ended.
        """
        begun = time.perf_counter()
        with explained():
            result = self.trainer.steps(self.batches, tf.constant(count, tf.int64))
        check_finite(self.config, self.trainer, self.fitted, result)
        reached = self.trainer.reached
        reporter.add(result, reached, time.perf_counter() - begun)
        return reached


def _next_multiple(step: int, every: int) -> int:
    """The next multiple of `every` after `step`."""
    return (step // every + 1) * every
