"""Early stopping by the loss of held-out training rows, restoring the weights it was lowest at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from features.files import flush_all, write_text
from model.data.errors import naming_files
from model.estimator.checkpoint_files import tracked
from model.ranking import RankingModel
from model.training.progress import Progress
from model.training.trainer import Trainer

AN_EPOCH = 4  # evaluations
PATIENCE = 3  # evaluations without a lower loss


class HeldOutLoss:
    """Σ_k w_k·L_k over a dataset, L_k the mean of objective k over the rows of its denominator."""

    def __init__(self, model: RankingModel) -> None:
        self.model = model
        self._traced_sums = tf.function(self._sums, autograph=False)

    def _sums(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """[objectives, 2]: the sums of the losses and of the rows."""
        predictions = self.model(batch["ids"], batch["dense"])
        objectives = self.model.funnel.objectives(predictions, batch)
        return tf.stack(
            [tf.stack(objective.sums(batch.get("weight", 1.0))) for objective in objectives]
        )

    def __call__(self, dataset: tf.data.Dataset, weights: Mapping[str, float]) -> float:
        losses, rows = sum(
            self._traced_sums(batch).numpy().astype(np.float64) for batch in dataset
        ).T
        means = np.divide(losses, rows, out=np.zeros_like(losses), where=rows > 0)
        names = [objective.name for objective in self.model.objectives]
        return float(sum(weights[name] * mean for name, mean in zip(names, means, strict=True)))


class EarlyStop:
    """Callback: ends the training after PATIENCE evaluations without a lower held-out loss.

    The loss is that which the training minimizes. At the end the variables become those of the
    lowest loss. `folder` keeps them in best.index and best.data, and all losses in losses.jsonl,
    so that a killed and resumed training ends with the same weights.

    Args:
        folder: receives the files.
        dataset: makes the held-out rows' batches.
        every: steps between evaluations.
        last: the step at which the training ends anyway.
        say: receives one line about the result.
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
        self.folder, self.dataset, self.every = folder, dataset, every
        self.last, self.say = last, say
        self.cuts = (*range(every, last, every), last)
        self.losses: dict[int, float] = {}
        self._trainer: Trainer | None = None

    def watch(self, trainer: Trainer) -> None:
        """Notes the trainer, and the losses up to the step that it resumes from."""
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
        return min(self.losses, key=lambda step: self.losses[step])

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
        with naming_files(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if lowest:
                self._checkpoint.write(str(self.folder / "best"))
                flush_all(self.folder)
        lines = (json.dumps({"step": s, "loss": value}) + "\n" for s, value in self.losses.items())
        write_text(self.folder / "losses.jsonl", "".join(lines))

    @property
    def _checkpoint(self) -> tf.train.Checkpoint:
        """All that a checkpoint holds except the step, which is not turned back."""
        if self._trainer is None:
            raise RuntimeError("EarlyStop.watch(trainer) must be called before its first report")
        return tf.train.Checkpoint(
            state=tracked({name: v for name, v in self._trainer.state.items() if name != "step"})
        )
