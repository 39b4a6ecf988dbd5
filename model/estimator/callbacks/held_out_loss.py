"""Ends a training where the loss of held-out training rows stops falling, with the weights it had
there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from model.estimator.checkpoints import tracked
from model.ranking import RankingModel
from model.training.progress import Progress
from model.training.trainer import Trainer

AN_EPOCH = 4  # evaluations
PATIENCE = 3  # of them without a lower loss


class HeldOutLoss:
    """Σ_k w_k·L_k over the rows of a dataset, L_k the mean of objective k over its denominator's
    rows.
    """

    def __init__(self, model: RankingModel) -> None:
        self.model = model
        self._sums = tf.function(self._sums, autograph=False)

    def _sums(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """[objectives, 2]: Σ of the losses and of the rows."""
        predictions = self.model(batch["ids"], batch["dense"])
        objectives = self.model.funnel.objectives(predictions, batch)
        return tf.stack(
            [tf.stack(objective.sums(batch.get("weight", 1.0))) for objective in objectives]
        )

    def __call__(self, dataset: tf.data.Dataset, weights: Mapping[str, float]) -> float:
        losses, rows = sum(self._sums(batch).numpy().astype(np.float64) for batch in dataset).T
        means = np.divide(losses, rows, out=np.zeros_like(losses), where=rows > 0)
        names = [objective.name for objective in self.model.objectives]
        return float(sum(weights[name] * mean for name, mean in zip(names, means, strict=True)))


class EarlyStop:
    """A callback: every `every` steps it computes the loss of the rows of `dataset`, Σ_k w_k·L_k as
    the training minimizes it.

    After PATIENCE evaluations without a lower one it ends the training. Then, and at step `last`,
    the variables become those of the lowest loss, which `folder` keeps: best.index and best.data of
    all variables, losses.jsonl of all evaluations, so that a training that was killed goes on as it
    would have.
    """

    def __init__(
        self,
        folder: Path,
        dataset: Callable[[], tf.data.Dataset],
        *,
        every: int,
        last: int,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.dataset, self.every, self.last, self.say = (
            folder,
            dataset,
            every,
            last,
            say,
        )
        self.cuts = (*range(every, last, every), last)
        self.losses: dict[int, float] = {}
        self._trainer: Trainer | None = None

    def watch(self, trainer: Trainer) -> None:
        """Takes note of the trainer, and of the losses up to the step that it resumes from."""
        if trainer is not self._trainer:
            self._trainer, self._loss = trainer, HeldOutLoss(trainer.model)
        log = self.folder / "losses.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        self.losses = {
            line["step"]: line["loss"] for line in lines if line["step"] <= trainer.reached
        }

    @property
    def best(self) -> int:
        """The step of the lowest loss."""
        return min(self.losses, key=self.losses.get)

    def __call__(self, progress: Progress) -> bool:
        step = progress.step
        if step not in self.cuts or progress.metrics is not None:
            return False
        if step not in self.losses:
            self._note(step, self._loss(self.dataset(), progress.weights))
        missed = sum(later > self.best for later in self.losses)
        if missed < PATIENCE and step < self.last:
            return False
        if missed:
            self._checkpoint.read(str(self.folder / "best")).assert_consumed()
        low = f"the held-out loss was lowest at step {self.best:,}: {self.losses[self.best]:.4f}"
        self.say(
            f"{low}, whose weights are kept"
            if missed
            else f"{low}, and still falling at the end: more epochs may help"
        )
        return missed >= PATIENCE

    def _note(self, step: int, loss: float) -> None:
        lowest = not self.losses or loss < min(self.losses.values())
        self.losses[step] = loss
        self.folder.mkdir(parents=True, exist_ok=True)
        if lowest:
            self._checkpoint.write(str(self.folder / "best"))
        lines = "".join(
            json.dumps({"step": s, "loss": value}) + "\n" for s, value in self.losses.items()
        )
        unfinished = self.folder / ".losses.jsonl"
        unfinished.write_text(lines)
        os.replace(unfinished, self.folder / "losses.jsonl")

    @property
    def _checkpoint(self) -> tf.train.Checkpoint:
        """Of all that a checkpoint holds but the step, which goes on."""
        return tf.train.Checkpoint(
            state=tracked({name: v for name, v in self._trainer.state.items() if name != "step"})
        )
