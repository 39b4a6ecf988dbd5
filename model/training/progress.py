"""Reports of a training's progress, as callbacks receive them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.training.trainer import StepsResult, Trainer


@dataclass(frozen=True)
class Progress:
    """A report at `step`. Rates and shares cover the time since the last report; losses are means
    over a full window of steps.

    Args:
        step: the step reached.
        total: the step to train to.
        losses: of each objective, before its weight.
        weights: of each objective.
        learning_rates: {"dense", "tables"} of the next step.
        rows_per_second: since the last report.
        waiting: the share of the time spent waiting for input.
        seconds_left: estimated from the pace since the last report.
        touched: the distinct rows that the last batch read of each embedding table.
        entropies: the mean entropy of each gate on the last batch, in nats.
        metrics: by task and joint; only at an evaluation.
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


# Called with each report; True ends the training after this step. A callback may have the attribute
# `cuts`, steps at which it wants a report, and the method watch(trainer), called before the first.
Callback = Callable[[Progress], bool | None]
UNTIMED = 10  # steps of the first run of steps, when their pace is unknown


class Windows:
    """The sums of losses between the reports of a training, as far back as `every` steps."""

    def __init__(self) -> None:
        self._past: deque[tuple[np.ndarray, int]] = deque()  # (sum over the steps, their number)

    def mean(self, sums: np.ndarray, steps: int, every: int) -> np.ndarray:
        """The mean losses at a report that follows `steps` steps with these sums. Where these are
        fewer than `every`, as before an evaluation or the end, it goes back over whole windows
        until they are as many.
        """
        self._past.append((sums, steps))
        total, counted, used = np.zeros_like(sums), 0, 0
        for past, number in reversed(self._past):
            total, counted, used = total + past, counted + number, used + 1
            if counted >= every:
                break
        while len(self._past) > used:
            self._past.popleft()
        return total / counted


class Reporter:
    """Adds up the results of runs of steps until the next report, due `every` so many steps.

    `windows` continues those of an earlier run of the same training.
    """

    def __init__(
        self, trainer: Trainer, total: int, every: int = 1, windows: Windows | None = None
    ) -> None:
        self.trainer, self.total, self.every, self.step = trainer, total, every, trainer.reached
        self.windows = windows or Windows()
        self.losses: dict[str, float] = {}
        self._pace: float | None = None  # seconds a step, in the last run
        self._batch: Any = None
        self._clear()
        self.last = self._progress(
            rows_per_second=0.0, waiting=0.0, seconds_left=None, touched={}, entropies={}
        )

    def _clear(self) -> None:
        self._since, self._begun = self.step, time.perf_counter()
        self._sums, self._waited, self._counted = np.zeros(len(self.trainer.objectives)), 0.0, 0

    def add(self, result: StepsResult, reached: int, seconds: float) -> None:
        """Adds a run of steps that ended at step `reached`."""
        steps = reached - self.step
        if steps:
            self._sums += result.losses.numpy() * steps
            self._waited += float(result.waited)
            self._counted += steps
            self._batch, self._pace = result.last, seconds / steps
        self.step = reached

    def steps_within(self, seconds: float) -> int:
        """How many steps take about that long, at least one."""
        return UNTIMED if self._pace is None else max(1, int(seconds / self._pace))

    def report(self, callbacks: Sequence[Callback]) -> bool:
        """Calls the callbacks with what was added since the last report.

        Returns:
            Whether one of them ends the training.
        """
        if not self._counted:
            return False
        trainer, seconds = self.trainer, time.perf_counter() - self._begun
        means = self.windows.mean(self._sums, self._counted, self.every)
        self.losses = dict(zip(trainer.objectives, means.tolist(), strict=True))
        pace = seconds / (self.step - self._since)
        touched, entropies = trainer.observe(self._batch)
        self.last = self._progress(
            rows_per_second=trainer.batch_size / pace,
            waiting=min(1.0, self._waited / seconds),
            seconds_left=pace * (self.total - self.step),
            touched=touched,
            entropies=entropies,
        )
        # Every callback is called, even where the first ends the training.
        stops = [callback(self.last) for callback in callbacks]
        self._clear()
        return any(stops)

    def _progress(self, **measured: Any) -> Progress:
        trainer = self.trainer
        rates: dict[str, Any] = {
            "weights": trainer.objective_weights,
            "learning_rates": trainer.learning_rates,
        }
        return Progress(step=self.step, total=self.total, losses=self.losses, **rates, **measured)
