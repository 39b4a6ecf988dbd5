"""The network as a whole: ids and numbers → probabilities by name."""

from __future__ import annotations

import keras
import tensorflow as tf

from features import graph
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.embedding import Embeddings
from model.funnels import FUNNELS
from model.objectives import Probability
from model.sharing import SHARING


class RankingModel(tf.Module):
    """Embeddings, sharing and funnel. A sharing that does not share embeddings is built once per head, tables included.

    `seed` decides every initial value (it seeds Python, NumPy and TensorFlow).
    """

    def __init__(self, spec: Spec, config: ModelConfig, fitted: Fitted, seed: int) -> None:
        super().__init__()
        keras.utils.set_random_seed(seed)
        self.spec, self.fitted = spec, fitted
        self.funnel = FUNNELS[config.funnel.name](config.funnel, spec)
        heads = self.funnel.heads
        groups = [heads] if config.sharing.shares_embeddings else [[head] for head in heads]
        self.embeddings = [Embeddings(spec, fitted, seed + number) for number in range(len(groups))]
        kind = SHARING[config.sharing.name]
        self.sharings = [kind(config.sharing, group, name="sharing_" + "_".join(group)) for group in groups]
        self(tf.zeros([1, spec.ids_width], tf.int64), tf.zeros([1, spec.dense_width]))  # creates the weights

    def __call__(self, ids: tf.Tensor, dense: tf.Tensor) -> dict[str, Probability]:
        """ids [B, S] and dense [B, D] as they were written → probabilities [B] of tasks and joints."""
        numbers = graph.normalise(self.spec, self.fitted, dense)
        rows, weights = graph.table_rows(self.spec, self.fitted, ids, dense), graph.weights(self.spec, dense)
        representations = {}
        for embeddings, sharing in zip(self.embeddings, self.sharings, strict=True):
            representations |= sharing(embeddings(rows, numbers, weights))
        return self.funnel(representations)

    def scores(self, ids: tf.Tensor, dense: tf.Tensor) -> dict[str, tf.Tensor]:
        """What a request is answered with: {"p_<name>": [B]}."""
        return {f"p_{name}": tf.exp(p.log_p) for name, p in self(ids, dense).items()}

    @property
    def tables(self) -> list[tf.Variable]:
        """The embedding tables: their gradients are tf.IndexedSlices."""
        return [table for embeddings in self.embeddings for table in embeddings.tables.values()]

    @property
    def state(self) -> dict[str, tf.Variable]:
        """Every variable by a name that a later process gives it too: what a checkpoint holds."""
        tables = {f"embeddings_{i}/{dim}": table for i, e in enumerate(self.embeddings) for dim, table in e.tables.items()}
        return tables | {w.path: w.value for w in self.weights}

    @property
    def weights(self) -> list[keras.Variable]:
        """Everything trained but the tables."""
        return [w for layer in [*self.sharings, self.funnel] for w in layer.trainable_weights]
