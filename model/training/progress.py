"""What callbacks are told while a model trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from model.training.trainer import Stretch, Trainer


@dataclass(frozen=True)
class Progress:
    """A report of `step`: rates and shares are of the time since the last one, losses means over a
    full window of steps.

    `losses` are before their weights; `learning_rates`, {"dense", "tables"}, are those of the next
    step; `waiting` is the share of the time spent waiting for input; `touched` counts the distinct
    rows that the last batch read of each table, and `entropies` are its gates' means, in nats.
    `metrics`, by task and joint, are given by an evaluation alone.
    """

    step: int
    total: int
    losses: dict[str, float]
    weights: dict[str, float]
    learning_rates: dict[str, float]
    rows_per_second: float
    waiting: float
    seconds_left: float | None
    touched: dict[str, int]
    entropies: dict[str, float]
    metrics: dict[str, dict[str, float | None]] | None = None


Callback = Callable[[Progress], bool | None]  # True ends the training after this step
UNTIMED = 10  # steps of the first stretch, when nothing is known of their time


class Reporter:
    """Adds up what stretches of steps tell until the next report, due `every` so many steps.

    A report of fewer steps gives the mean losses over the window before as well.
    """

    def __init__(self, trainer: Trainer, total: int, every: int = 1) -> None:
        self.trainer, self.total, self.every, self.step = trainer, total, every, trainer.reached
        self.losses: dict[str, float] = {}
        self._pace: float | None = None  # seconds a step, of the last stretch
        self._batch = None
        self._before = (
            np.zeros(len(trainer.objectives)),
            0,
        )  # of the window before: Σ losses over its steps, and their number
        self._clear()
        self.last = self._report(
            rows_per_second=0.0, waiting=0.0, seconds_left=None, touched={}, entropies={}
        )

    def _clear(self) -> None:
        self._since, self._begun = self.step, time.perf_counter()
        self._sums, self._waited, self._counted = np.zeros(len(self.trainer.objectives)), 0.0, 0

    def add(self, stretch: Stretch, reached: int, seconds: float) -> None:
        """A stretch that ended at step `reached`."""
        steps = reached - self.step
        if steps:
            self._sums += stretch.losses.numpy() * steps
            self._waited += float(stretch.waited)
            self._counted += steps
            self._batch, self._pace = stretch.last, seconds / steps
        self.step = reached

    def within(self, seconds: float) -> int:
        """How many steps take about that long: at least one."""
        return UNTIMED if self._pace is None else max(1, int(seconds / self._pace))

    def tell(self, callbacks: Sequence[Callback]) -> bool:
        """Calls the callbacks with the report of what was added since the last one; whether one of
        them ends the training.
        """
        if not self._counted:
            return False
        trainer, seconds = self.trainer, time.perf_counter() - self._begun
        sums, steps = self._sums, self._counted
        if (
            steps < self.every
        ):  # the last window, or one that a checkpoint or an evaluation cut short
            sums, steps = sums + self._before[0], steps + self._before[1]
        self.losses = dict(zip(trainer.objectives, (sums / steps).tolist(), strict=True))
        self._before = self._sums, self._counted
        pace = seconds / (self.step - self._since)
        touched, entropies = trainer.observe(self._batch)
        self.last = self._report(
            rows_per_second=trainer.config.batch_size / pace,
            waiting=min(1.0, self._waited / seconds),
            seconds_left=pace * (self.total - self.step),
            touched=touched,
            entropies=entropies,
        )
        asked = [
            callback(self.last) for callback in callbacks
        ]  # all of them, even where the first ends the training
        self._clear()
        return any(asked)

    def _report(self, **told: Any) -> Progress:
        trainer = self.trainer
        rates = {"weights": trainer.objective_weights, "learning_rates": trainer.learning_rates}
        return Progress(step=self.step, total=self.total, losses=self.losses, **rates, **told)
