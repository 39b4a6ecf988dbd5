"""The whole network: ids and numbers → predictions by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from features import graph
from features.fitted import Fitted
from features.spec import Spec
from model import calibration
from model.calibration import CalibrationMap
from model.config import ModelConfig
from model.embeddings.inputs import Columns, Inputs
from model.embeddings.tables import Embeddings, Table
from model.embeddings.wide import Wide
from model.funnels import FUNNELS
from model.layers.network import Activations, observed
from model.objectives.base_rates import BaseRates
from model.objectives.predictions import Prediction, Probability, Value
from model.sharing import SHARING
from model.sharing.base import shared_part

LookUp = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


class RankingModel(tf.Module):
    """Embeddings, sharing, funnel and wide part.

    A sharing that does not share embeddings is built once for each head, tables included.

    Args:
        spec: features, labels and tasks.
        config: the architecture.
        fitted: the statistics of the training split that features and base rates need.
        seed: decides every initial value; it seeds Python, NumPy and TensorFlow.

    Raises:
        FunnelError: the features and tasks do not fit the architecture.
    """

    def __init__(self, spec: Spec, config: ModelConfig, fitted: Fitted, seed: int) -> None:
        super().__init__()
        self.objectives = config.check(spec)
        keras.utils.set_random_seed(seed)
        self.spec, self.fitted = spec, fitted
        self.calibration: Mapping[str, CalibrationMap] = {}
        self.funnel = FUNNELS[config.funnel.name](config.funnel, spec)
        heads = self.funnel.heads
        groups = [heads] if config.sharing.shares_embeddings else [[head] for head in heads]
        self.embeddings = [Embeddings(spec, fitted, seed + number) for number in range(len(groups))]
        kind = SHARING[config.sharing.name]
        self.sharings = [
            kind(config.sharing, group, name="sharing_" + "_".join(group)) for group in groups
        ]
        self.wide = Wide(spec, fitted, self.embeddings[0], heads) if config.wide else None
        # Creates the weights; `blank` has the names and types of the predictions.
        self.blank = self(tf.zeros([1, spec.ids_width], tf.int64), tf.zeros([1, spec.dense_width]))
        self.funnel.start_at(BaseRates(spec, fitted.outcomes))

    def __call__(
        self,
        ids: tf.Tensor,
        dense: tf.Tensor,
        vocabularies: graph.Vocabularies | None = None,
        look_up: LookUp | None = None,
    ) -> dict[str, Prediction]:
        """ids [B, S] and dense [B, D] as written in examples → predictions [B] by name."""
        columns = self.read(ids, dense, vocabularies)
        return self.forward(columns, (look_up or self.look_up)(self.row_ids(columns)))

    def read(
        self, ids: tf.Tensor, dense: tf.Tensor, vocabularies: graph.Vocabularies | None = None
    ) -> Columns:
        """ids [B, S] and dense [B, D] as written in examples → what embeddings are looked up by.

        Args:
            ids: [B, S].
            dense: [B, D].
            vocabularies: look ids up instead of constants of the graph.
        """
        spec, fitted = self.spec, self.fitted
        rows = graph.table_rows(spec, fitted, ids, dense, vocabularies)
        return Columns(rows, graph.normalize(spec, fitted, dense), graph.weights(spec, dense))

    def row_ids(self, columns: Columns) -> list[tf.Tensor]:
        """The rows that a batch reads of each of `tables`, [B, E of its dimension]."""
        own = [embeddings.row_ids(columns) for embeddings in self.embeddings]
        return [*itertools.chain(*own), *(self.wide.row_ids(own[0]) if self.wide else [])]

    def look_up(self, row_ids: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The rows [B, E, dim] of each table."""
        return [
            tf.gather(table.variable, rows)
            for table, rows in zip(self.tables, row_ids, strict=True)
        ]

    def forward(
        self, columns: Columns, embedded: Sequence[tf.Tensor], *, training: bool = False
    ) -> dict[str, Prediction]:
        """Looked-up rows → predictions [B] by name. Reads no table."""
        representations: dict[str, tf.Tensor] = {}
        for sharing, inputs in zip(self.sharings, self._inputs(columns, embedded), strict=True):
            representations |= sharing(inputs, training=training)
        wide = self.wide(columns, embedded[-len(self.wide.tables) :]) if self.wide else None
        return self.funnel(representations, wide, training=training)

    def _inputs(self, columns: Columns, embedded: Sequence[tf.Tensor]) -> list[Inputs]:
        """The Inputs of each sharing."""
        each = len(self.embeddings[0].tables)
        return [
            e(columns, embedded[i * each : (i + 1) * each]) for i, e in enumerate(self.embeddings)
        ]

    def scores(
        self,
        ids: tf.Tensor,
        dense: tf.Tensor,
        vocabularies: graph.Vocabularies | None = None,
        look_up: LookUp | None = None,
    ) -> dict[str, tf.Tensor]:
        """The scores that are served.

        The weights of positives are undone, then `calibration` is applied.

        Args:
            ids: [B, S].
            dense: [B, D].
            vocabularies: as in `read`.
            look_up: is called in place of this model's.

        Returns:
            {"p_<name>": [B]} of probabilities, {"y_<name>": [B]} of numbers in their labels' units.
        """
        found = calibration.apply(
            self.calibration, self.funnel.unweighted(self(ids, dense, vocabularies, look_up))
        )
        values = {f"y_{name}": p.value for name, p in found.items() if isinstance(p, Value)}
        logs = {f"p_{name}": p.log_p for name, p in found.items() if isinstance(p, Probability)}
        return {name: tf.exp(log_p) for name, log_p in logs.items()} | values

    def gate_weights(self, ids: tf.Tensor, dense: tf.Tensor) -> dict[str, tf.Tensor]:
        """Each gate's distribution over experts [B, n], by "level_<l>/<head>"; {} without gates."""
        found: dict[str, tf.Tensor] = {}
        columns = self.read(ids, dense)
        for sharing, inputs in zip(
            self.sharings, self._inputs(columns, self.look_up(self.row_ids(columns))), strict=True
        ):
            found |= sharing.gate_weights(inputs)
        return found

    def observe(self, ids: tf.Tensor, dense: tf.Tensor) -> tuple[dict[str, tf.Tensor], Activations]:
        """(each gate's distribution, as `gate_weights`; the activations of every hidden layer)."""
        columns = self.read(ids, dense)
        inputs = self._inputs(columns, self.look_up(self.row_ids(columns)))
        representations: dict[str, tf.Tensor] = {}
        gates: dict[str, tf.Tensor] = {}
        with observed() as activations:
            for sharing, own in zip(self.sharings, inputs, strict=True):
                shared, weights = sharing.observe(own)
                representations |= shared
                gates |= weights
            self.funnel(representations)
        return gates, activations

    def untouched(self) -> dict[str, dict[str, float]]:
        """See Embeddings.untouched; "<head>/<feature>" where heads have embeddings of their own."""
        if len(self.embeddings) == 1:
            return self.embeddings[0].untouched()
        each = zip(self.sharings, self.embeddings, strict=True)
        return {f"{s.heads[0]}/{name}": one for s, e in each for name, one in e.untouched().items()}

    @property
    def network_names(self) -> dict[str, list[str]]:
        """See Sharing.network_names; by the blocks' whole paths."""
        each = [(s.name, s.network_names) for s in self.sharings]
        return {f"{name}/{block}": own for name, named in each for block, own in named.items()}

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        """The names of the experts that each gate of `gate_weights` mixes."""
        return {
            gate: experts
            for sharing in self.sharings
            for gate, experts in sharing.gated_experts.items()
        }

    @property
    def last_shared(self) -> dict[str, np.ndarray]:
        """Masks of the kernels and biases of the last layer that all heads share, by path: 1 where
        all heads share it, 0 in the parts of single heads.
        """
        sharing = self.sharings[0]
        return (
            {w.path: shared_part(w.shape, sharing.shared_in_last) for w in sharing.last_shared}
            if len(self.sharings) == 1
            else {}
        )

    @property
    def named_tables(self) -> dict[str, Table]:
        """The embedding tables, then those of the wide part, by names that are the same in every
        process.
        """
        found = {
            f"embeddings_{i}/{dim}": table
            for i, e in enumerate(self.embeddings)
            for dim, table in e.tables.items()
        }
        return found | (
            {f"wide/{dim}": table for dim, table in self.wide.tables.items()} if self.wide else {}
        )

    @property
    def tables(self) -> list[Table]:
        """The tables that are looked up by row."""
        return list(self.named_tables.values())

    @property
    def state(self) -> dict[str, tf.Variable]:
        """What a checkpoint holds: every variable by a name that is the same in every process."""
        tables = {name: table.variable for name, table in self.named_tables.items()}
        # By index, since Keras numbers the paths of random generators by what the process made
        # before.
        untrained = {f"untrained_{i}/{v.name}": v.value for i, v in enumerate(self._untrained)}
        return tables | {w.path: w.value for w in self.weights} | untrained

    @property
    def _layers(self) -> list[keras.Layer]:
        wide = [self.wide.numbers] if self.wide and self.wide.numbers else []
        return [*self.sharings, *wide, self.funnel]

    @property
    def weights(self) -> list[keras.Variable]:
        """The dense weights: all that is trained except the tables."""
        return [w for layer in self._layers for w in layer.trainable_weights]

    @property
    def _untrained(self) -> list[keras.Variable]:
        """Moving averages of batch normalization and the states of dropout's random generators."""
        return [v for layer in self._layers for v in layer.non_trainable_variables]

    def regularization(self) -> tf.Tensor:
        """Σ λ·w² over the layers with an l2; 0 without any."""
        return tf.add_n([tf.zeros([]), *(loss for layer in self._layers for loss in layer.losses)])
