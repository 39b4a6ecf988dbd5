"""Training settings that a configuration leaves open, chosen for the number of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from features.errors import FunnelError
from model.objectives.base_rates import BaseRates
from model.training.config import TrainConfig

STEPS = 150  # of an epoch, approximately
SMALLEST, LARGEST = 32, 4096  # batch sizes
FEWEST, MOST = 2, 8  # epochs
EARLY_STOP_EPOCHS = 10.0  # at most, where the held-out loss ends a training
ENOUGH = 100  # positives of a task among the held-out rows


# What a result depends on where settings are left open.
RULE = {"steps": STEPS, "smallest": SMALLEST, "largest": LARGEST, "fewest": FEWEST, "most": MOST}


class Suited(NamedTuple):
    """A training with nothing left open.

    Args:
        train: the settings.
        held_out: the share of the training rows that is held out.
        chosen: the settings that were open, and the `rows` that they were chosen for.
        notes: a line about each choice, for the user.
    """

    train: TrainConfig
    held_out: float
    chosen: dict[str, float]
    notes: tuple[str, ...]


def batch_size(rows: int) -> int:
    """2^round(log₂(rows / 150)), within 32 … 4096, and at most `rows`."""
    fitting = 2 ** round(math.log2(max(rows, 1) / STEPS))
    return min(max(SMALLEST, min(LARGEST, fitting)), max(rows, 1))


def epochs(rarest: int, largest_table: int) -> int:
    """⌊∛(rows of the rarest class / rows of the largest table)⌋, within 2 … 8.

    A table of many ids that are seen a few times each is overfitted by a third epoch; columns of
    few values gain from eight.
    """
    seen = max(rarest, 0) / max(largest_table, 1)
    # the root of a cube, such as 64, may come out just below its integer
    return max(FEWEST, min(MOST, math.floor(seen ** (1 / 3) + 1e-9)))


def suited(
    train: TrainConfig,
    rows: int,
    rates: BaseRates,
    count_held_out: Callable[[float], int],
    largest_table: int,
    earlier: Mapping[str, float] | None = None,
) -> Suited:
    """Fills in what `train` leaves open; see docs/defaults.md.

    Args:
        train: the settings of the configuration.
        rows: the number of training rows.
        rates: the counts of labels.
        count_held_out: gives the number of rows of a held-out share.
        largest_table: the number of rows of the largest embedding table.
        earlier: what was chosen for the run of a warm start; it is kept, since its weights were
            trained with it.

    Raises:
        FunnelError: the batch is larger than the data, or a task is to be calibrated on too few
            positives.
    """
    notes: list[str] = []
    calibrated = [task for task, declared in rates.spec.tasks.items() if declared.calibrate]
    few = _few_positives(rates, count_held_out(train.held_out) / rows)
    for task in calibrated:
        if task in few:
            raise FunnelError(
                f"tasks.{task}.calibrate = '{rates.spec.tasks[task].calibrate}': the held-out "
                f"rows hold about {few[task]} positives, fewer than {ENOUGH}: raise "
                f"train.held_out = {train.held_out:g}, or leave calibrate out"
            )
    if train.early_stop and few:
        task, count = min(few.items(), key=lambda item: item[1])
        notes.append(
            f"early_stop: the held-out rows would hold about {count} positives of '{task}', fewer "
            f"than {ENOUGH}: training ends by epochs"
        )
        train = train.model_copy(update={"early_stop": False})
    held_out = train.held_out if train.early_stop or calibrated else 0.0
    trained = rows - (count_held_out(held_out) if held_out else 0)
    found = _open(train, trained, epochs(rates.rarest(), largest_table))
    earlier = earlier or {}
    kept = {key: earlier[key] for key in found if key in earlier}
    if found:
        notes.append(f"for {trained:,} training rows: {_shown(found | kept)}")
    if kept:
        were = (
            f"warm start: {_shown(kept)} were chosen for {earlier['rows']:,} training rows and are "
            "kept"
        )
        notes.append(
            were
            if kept.items() <= found.items()
            else f"{were}; for these rows the rule gives {_shown(found)}"
        )
    used = found | kept
    chosen = {"rows": earlier["rows"] if kept else trained} | used
    if used.get("batch_size", 0) > trained:  # kept in `chosen`, for a later day with more rows
        notes.append(
            f"warm start: batch_size = {kept['batch_size']:g} is larger than the {trained:,} "
            f"training rows, so this training takes batches of {trained}"
        )
        used["batch_size"] = trained
    return Suited(train.model_copy(update=used), held_out, chosen, tuple(notes))


def _shown(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{key} = {value:g}" for key, value in settings.items())


def _open(train: TrainConfig, rows: int, length: int) -> dict[str, float]:
    """What the rule gives for the settings that are left open; `length` in epochs."""
    if train.batch_size is not None and train.batch_size > rows:
        raise FunnelError(
            f"train.batch_size = {train.batch_size} is larger than the {rows:,} training rows, "
            f"so a row would be in one batch several times; set at most {rows}, or leave it out "
            f"and get {batch_size(rows)}"
        )
    found: dict[str, float] = {} if train.batch_size else {"batch_size": batch_size(rows)}
    if train.steps is None and train.epochs is None:
        found["epochs"] = EARLY_STOP_EPOCHS if train.early_stop else float(length)
    return found


def _few_positives(rates: BaseRates, share: float) -> dict[str, int]:
    """{task: expected positives} of the tasks with fewer than ENOUGH positives in that share of the
    training rows.
    """
    binary = [
        task
        for task, declared in rates.spec.tasks.items()
        if not rates.spec.labels[declared.label].is_number
    ]
    expected = {task: round(rates.positives(task) * share) for task in binary}
    return {task: count for task, count in expected.items() if count < ENOUGH}
