"""Explains a loss or gradient that is not finite: which objective or weights, and which value of
the batch.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from features import graph
from features.errors import FunnelError
from features.fitted import Fitted
from model.estimator.ranking_config import RankingConfig
from model.training.collectives import gathered
from model.training.trainer import StepsResult, Trainer

SHOWN = 3  # names of weights


def check_finite(
    config: RankingConfig, trainer: Trainer, fitted: Fitted, result: StepsResult
) -> None:
    """Raises FunnelError when a loss or gradient is NaN or infinite. The trainer stops after the
    first such step.

    Losses and gradients are those of all workers, so all of them raise together; each knows only
    its own batch.
    """
    losses = dict(zip(trainer.objectives, result.losses.numpy().tolist(), strict=True))
    bad = next((name for name, loss in losses.items() if not np.isfinite(loss)), None)
    if bad is None and result.finite:
        return
    cause = find_cause(config, fitted, result.last)
    found_by = [
        i for i, [found] in enumerate(gathered(trainer.strategy, int(cause is not None))) if found
    ]
    what = "gradients are not finite" if bad is None else f"the loss of {bad} is {losses[bad]}"
    if cause is None and found_by:
        cause = (
            "every value of this worker's batch is finite, but not that of worker "
            f"{found_by[0]}, whose own error names the row"
        )
    raise FunnelError(
        f"{what} in step {trainer.reached}: {cause or _diverged(config, trainer, bad)}"
    )


def _diverged(config: RankingConfig, trainer: Trainer, bad: str | None) -> str:
    """The cause and the remedies where every value of the batch is finite."""
    train = config.train
    rates = (
        f"lower train.learning_rate = {train.learning_rate} or "
        f"train.embedding_learning_rate = {train.embedding_learning_rate}"
    )
    if bad is None:
        return (
            f"{_affected(trainer)}; the losses and all features and labels of the batch are "
            "finite, so the weights diverged, or a derivative there divides by zero: "
            f"{rates}, or fix that layer"
        )
    return (
        "all features and labels of the batch are finite, so the weights diverged: "
        f"{rates}, or give train.clip_norm"
    )


def _affected(trainer: Trainer) -> str:
    """Which weights have gradients that are not finite: the step has made these weights so too.

    Those nearest the losses come first, since the others follow from them.
    """
    trained = {
        name: v for name, v in trainer.model.state.items() if not name.startswith("untrained_")
    }
    bad = [name for name, v in reversed(trained.items()) if not tf.reduce_all(tf.math.is_finite(v))]
    if not bad:
        return (
            "the affected weights are unknown because the step was skipped: "
            "train.precision = 'float32' shows them"
        )
    if len(bad) == len(trained) and trainer.config.clip_norm is not None:
        return (
            "the affected weights are unknown because train.clip_norm = "
            f"{trainer.config.clip_norm} spreads the values to all: leave it out to see them"
        )
    return (
        f"those of {', '.join(bad[:SHOWN])}{', …' * (len(bad) > SHOWN)}, "
        f"{len(bad)} of {len(trained)} weights, the nearest to the losses first"
    )


def find_cause(config: RankingConfig, fitted: Fitted, batch: dict[str, tf.Tensor]) -> str | None:
    """Names the first label, weight or feature slot of a batch that is not finite after
    normalization, with its row; None where all are finite.
    """
    spec = config.spec
    numbers = {
        f"label '{name}'": batch[name].numpy()
        for name, label in spec.labels.items()
        if label.is_number
    }
    numbers |= {"weight": batch["weight"].numpy()} if "weight" in batch else {}
    normalized = graph.normalize(spec, fitted, batch["dense"]).numpy()
    numbers |= {f"feature '{name}'": normalized[:, i] for i, name in enumerate(spec.numeric)}
    lists = graph.weights(spec, batch["dense"])
    numbers |= {f"weights of feature '{name}'": values.numpy() for name, values in lists.items()}
    for name, values in numbers.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row = int(bad[0][0])
            shown = ""
            if "id" in batch:
                shown = f"; its id is {batch['id'].numpy()[row].decode(errors='replace')!r}"
            return (
                f"{name} is {values[tuple(bad[0])]} in row {row} of the batch{shown}: "
                "clip or transform it, or drop such rows"
            )
    return None
