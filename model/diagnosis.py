"""A loss that is not finite: which objective, and what in the batch it came from."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from features import graph
from features.errors import FunnelError
from features.fitted import Fitted
from model.identity import RankingConfig
from model.trainer import Stretch, Trainer


def check_finite(config: RankingConfig, trainer: Trainer, fitted: Fitted, stretch: Stretch) -> None:
    """Raises FunnelError when a loss or gradient is NaN or infinite; the trainer stops at the first step whose is."""
    losses = dict(zip(trainer.objectives, stretch.losses.numpy().tolist(), strict=True))
    bad = next((name for name, loss in losses.items() if not np.isfinite(loss)), None)
    if bad is None and stretch.finite:
        return
    cause = find_cause(config, fitted, stretch.last)
    train = config.train
    said = cause or (
        "all features and labels of the batch are finite, so the weights diverged: lower train.learning_rate = "
        f"{train.learning_rate} or train.embedding_learning_rate = {train.embedding_learning_rate}, or give train.clip_norm"
    )
    what = "gradients are not finite" if bad is None else f"the loss of {bad} is {losses[bad]}"
    raise FunnelError(f"{what} in step {trainer.reached}: {said}")


def find_cause(config: RankingConfig, fitted: Fitted, batch: dict[str, tf.Tensor]) -> str | None:
    """The first label, weight or feature slot of a batch that is not finite once it was normalised, with its row."""
    spec = config.spec
    numbers = {f"label '{name}'": batch[name].numpy() for name, label in spec.labels.items() if label.is_number}
    numbers |= {"weight": batch["weight"].numpy()} if "weight" in batch else {}
    normalised = graph.normalise(spec, fitted, batch["dense"]).numpy()
    numbers |= {f"feature '{name}'": normalised[:, i] for i, name in enumerate(spec.numeric)}
    lists = graph.weights(spec, batch["dense"])
    numbers |= {f"weights of feature '{name}'": values.numpy() for name, values in lists.items()}
    for name, values in numbers.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row = int(bad[0][0])
            shown = f"; its id is {batch['id'].numpy()[row].decode(errors='replace')!r}" if "id" in batch else ""
            return f"{name} is {values[tuple(bad[0])]} in row {row} of the batch{shown}: clip or transform it, or drop such rows"
    return None
