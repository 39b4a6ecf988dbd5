"""A loss or gradient that is not finite: of which objective or weights, and what in which batch it
came from.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from features import graph
from features.errors import FunnelError
from features.fitted import Fitted
from model.estimator.identity import RankingConfig
from model.training.strategy import gathered
from model.training.trainer import Stretch, Trainer

SHOWN = 3  # names of weights


def check_finite(config: RankingConfig, trainer: Trainer, fitted: Fitted, stretch: Stretch) -> None:
    """Raises FunnelError when a loss or gradient is NaN or infinite; the trainer stops at the first
    step whose is.

    Losses and gradients are those of all workers, which thus get here together; each knows its own
    batch alone.
    """
    losses = dict(zip(trainer.objectives, stretch.losses.numpy().tolist(), strict=True))
    bad = next((name for name, loss in losses.items() if not np.isfinite(loss)), None)
    if bad is None and stretch.finite:
        return
    cause = find_cause(config, fitted, stretch.last)
    found = [
        i for i, [theirs] in enumerate(gathered(trainer.strategy, int(cause is not None))) if theirs
    ]
    what = "gradients are not finite" if bad is None else f"the loss of {bad} is {losses[bad]}"
    rates = f"lower train.learning_rate = {config.train.learning_rate} or train.embedding_learning_rate = "
    rates += f"{config.train.embedding_learning_rate}"
    if cause is None and found:
        cause = f"all of this worker's batch is finite, but not that of worker {found[0]}, whose own error names the row"
    elif cause is None and bad is None:
        cause = f"{_spoilt(trainer)}; the losses and all features and labels of the batch are finite, so the weights diverged, or a "
        cause += f"derivative there divides by zero: {rates}, or mend that layer"
    elif cause is None:
        cause = f"all features and labels of the batch are finite, so the weights diverged: {rates}, or give train.clip_norm"
    raise FunnelError(f"{what} in step {trainer.reached}: {cause}")


def _spoilt(trainer: Trainer) -> str:
    """Whose gradients are not finite: a step makes such weights so. Those nearest the losses come
    first, since what lies before follows.
    """
    trained = {
        name: v for name, v in trainer.model.state.items() if not name.startswith("untrained_")
    }
    bad = [name for name, v in reversed(trained.items()) if not tf.reduce_all(tf.math.is_finite(v))]
    if not bad:
        return "of which weights is not known, since the step was not taken: train.precision = 'float32' shows it"
    if len(bad) == len(trained) and trainer.config.clip_norm is not None:
        return f"of which weights is not known, since train.clip_norm = {trainer.config.clip_norm} spreads it to all: leave it out to see"
    return f"those of {', '.join(bad[:SHOWN])}{', …' * (len(bad) > SHOWN)}, {len(bad)} of {len(trained)} weights from the losses down"


def find_cause(config: RankingConfig, fitted: Fitted, batch: dict[str, tf.Tensor]) -> str | None:
    """The first label, weight or feature slot of a batch that is not finite once it was normalised,
    with its row.
    """
    spec = config.spec
    numbers = {
        f"label '{name}'": batch[name].numpy()
        for name, label in spec.labels.items()
        if label.is_number
    }
    numbers |= {"weight": batch["weight"].numpy()} if "weight" in batch else {}
    normalised = graph.normalize(spec, fitted, batch["dense"]).numpy()
    numbers |= {f"feature '{name}'": normalised[:, i] for i, name in enumerate(spec.numeric)}
    lists = graph.weights(spec, batch["dense"])
    numbers |= {f"weights of feature '{name}'": values.numpy() for name, values in lists.items()}
    for name, values in numbers.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row = int(bad[0][0])
            shown = (
                f"; its id is {batch['id'].numpy()[row].decode(errors='replace')!r}"
                if "id" in batch
                else ""
            )
            return f"{name} is {values[tuple(bad[0])]} in row {row} of the batch{shown}: clip or transform it, or drop such rows"
    return None
