"""Scores of a model for all rows of a dataset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from model.data.errors import explained
from model.ranking import RankingModel


def score(model: RankingModel, batches: Iterable[dict[str, tf.Tensor]]) -> dict[str, np.ndarray]:
    """The model's scores, beside the rows' ids, weights and labels.

    Returns:
        {"id", "p_<name>" of each task and joint, "y_<name>" of numbers, each label: [rows]}, and
        "weight" where rows have one.
    """
    traced = tf.function(lambda batch: model.scores(batch["ids"], batch["dense"]), autograph=False)
    kept = ["id", "weight", *model.spec.labels]
    with explained():
        found = [{k: batch[k] for k in kept if k in batch} | traced(batch) for batch in batches]
    return {name: np.concatenate([batch[name].numpy() for batch in found]) for name in found[0]}
