"""The backward pass: the losses of a batch and the gradients of their weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from model.embeddings.inputs import Columns
from model.optimizers.loss_scale import LossScale
from model.ranking import RankingModel
from model.settings.base import ObjectiveTraits
from model.training.collectives import SUM
from model.weighting.base import Weighting

Batch = dict[str, tf.Tensor]


class Losses(NamedTuple):
    """The losses of the objectives and penalties, and which of them have a row in the batch, each
    [J].
    """

    values: tf.Tensor
    present: tf.Tensor


class Gradients(NamedTuple):
    """The gradients of one loss with respect to the rows looked up in each table [B, E, dim] and to
    the dense weights; None where the loss does not depend on them.
    """

    embedded: list[tf.Tensor | None]
    weights: list[tf.Tensor | None]


class ObjectiveIndex:
    """Which K of the J objectives have a weight: all but the penalties, which weigh 1."""

    def __init__(self, objectives: Sequence[ObjectiveTraits]) -> None:
        self.all = [o.name for o in objectives]
        self.names = [o.name for o in objectives if o.penalty is None]
        self._weighted = [i for i, o in enumerate(objectives) if o.penalty is None]
        self._penalties = [i for i, o in enumerate(objectives) if o.penalty]
        self._sources = [
            len(self.names) if o.penalty else self.names.index(o.name) for o in objectives
        ]

    def select(self, values: tf.Tensor) -> tf.Tensor:
        """Those of the objectives that have a weight: [J] → [K]."""
        return tf.gather(values, self._weighted)

    def split(self, values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """[J] → K scalars, and the scalars of the penalties."""
        each = tf.unstack(values)
        return [each[i] for i in self._weighted], [each[i] for i in self._penalties]

    def expand(self, weights: tf.Tensor) -> tf.Tensor:
        """Adds the weight 1 of each penalty: [K] → [J]."""
        return tf.gather(tf.concat([weights, [1.0]], 0), self._sources)


class Backward:
    """A replica's batch → its share of the losses and gradients. Shares add up over replicas.

    A loss is Σ over the replica's rows / rows of the sample space on all replicas (Σ of sample
    weights, where rows have them), and 0 where the space is empty. Only the denominator is
    all-reduced: reducing the numerator inside the tape would count every gradient once per replica.
    """

    def __init__(
        self,
        model: RankingModel,
        index: ObjectiveIndex,
        weighting: Weighting,
        loss_scale: LossScale | None,
        replicas: int,
        *,
        xla: bool,
    ) -> None:
        self.model, self.index, self.weighting = model, index, weighting
        self.loss_scale, self.replicas = loss_scale, replicas
        self._compiled = (
            tf.function(self._differentiate, jit_compile=True, autograph=False)
            if xla
            else self._differentiate
        )

    def __call__(self, batch: Batch) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """Returns (the losses before their weights, the gradients of their weighted sum with
        respect to the tables, the same with respect to the dense weights).
        """
        replica, model = tf.distribute.get_replica_context(), self.model
        columns = model.read(batch["ids"], batch["dense"])
        row_ids = model.row_ids(columns)
        labels = {name: batch[name] for name in [*model.spec.labels, "weight"] if name in batch}
        rows = replica.all_reduce(SUM, self._denominators(batch, labels))
        scale = self.loss_scale.value.read_value() if self.loss_scale else tf.ones([])
        losses, each = self._compiled(
            columns, model.look_up(row_ids), labels, rows, self.weighting.current(), scale
        )
        found = each[0] if len(each) == 1 else self._balance(each, self.index.select(losses))
        slices = [
            tf.IndexedSlices(
                tf.reshape(g, [-1, g.shape[-1]]),
                tf.reshape(ids, [-1]),
                tf.shape(table.variable, tf.int64),
            )
            for g, ids, table in zip(found.embedded, row_ids, model.tables, strict=True)
        ]
        return Losses(losses, rows > 0), slices, found.weights

    def _denominators(self, batch: Batch, labels: Batch) -> tf.Tensor:
        """The rows [J] of this replica in the denominator of each objective, which depend
        on labels only.
        """
        size = tf.shape(batch["ids"])[:1]
        blank = tf.nest.map_structure(lambda p: tf.broadcast_to(p, size), self.model.blank)
        return tf.stack(
            [
                objective.sums(labels.get("weight", 1.0))[1]
                for objective in self.model.funnel.objectives(blank, labels)
            ]
        )

    def _differentiate(
        self,
        columns: Columns,
        embedded: list[tf.Tensor],
        labels: Batch,
        rows: tf.Tensor,
        weights: tf.Tensor,
        scale: tf.Tensor,
    ) -> tuple[tf.Tensor, list[Gradients]]:
        """The losses [J] and the gradients of their weighted sum.

        Where the weighting needs the gradients of each objective, those of every objective that has
        a weight, and last those of the rest: the penalties and the L2.
        """
        dense = [w.value for w in self.model.weights]
        with tf.GradientTape(persistent=self.weighting.params.needs_task_gradients) as tape:
            tape.watch(embedded)
            predictions = self.model.forward(columns, embedded, training=True)
            sums = [
                objective.sums(labels.get("weight", 1.0))[0]
                for objective in self.model.funnel.objectives(predictions, labels)
            ]
            losses = tf.math.divide_no_nan(tf.stack(sums), rows)
            l2 = self.model.regularization() / self.replicas
            if self.weighting.params.needs_task_gradients:
                objectives, penalties = self.index.split(losses)
                targets = [
                    *(loss * scale for loss in objectives),
                    tf.add_n([*penalties, l2]) * scale,
                ]
            else:
                targets = [(tf.reduce_sum(self.index.expand(weights) * losses) + l2) * scale]
        each = []
        for target in targets:
            found = tape.gradient(target, [*embedded, *dense])
            found = [g if g is None else g / scale for g in found] if self.loss_scale else found
            each.append(Gradients(found[: len(embedded)], found[len(embedded) :]))
        return losses, each

    def _balance(self, each: list[Gradients], losses: tf.Tensor) -> Gradients:
        """The gradients where the objectives' weights follow from their own gradients.

        Those are first added up over replicas, so that any number of replicas balances alike.

        Args:
            each: of every objective that has a weight, then of the rest.
            losses: [K], this replica's share.
        """
        replica = tf.distribute.get_replica_context()
        *own, rest = each
        reached = [sum(one.weights[i] is not None for one in own) for i in range(len(rest.weights))]
        compared = [self._compared(one, reached) for one in own]
        weights = self.weighting.balance(
            replica.all_reduce(SUM, compared), replica.all_reduce(SUM, losses)
        )
        shared_only = self.weighting.params.shared_weights_only
        elsewhere = tf.ones_like(weights) if shared_only else weights
        embedded = [
            _mix(elsewhere, [one.embedded[i] for one in own], more)
            for i, more in enumerate(rest.embedded)
        ]
        mixed = [
            _mix(weights if reached[i] > 1 else elsewhere, [one.weights[i] for one in own], more)
            for i, more in enumerate(rest.weights)
        ]
        return Gradients(embedded, mixed)

    def _compared(self, own: Gradients, reached: list[int]) -> list[tf.Tensor]:
        """The gradients of an objective that the weighting compares."""
        found = zip(self.model.weights, own.weights, reached, strict=True)
        if self.weighting.params.uses_last_shared_layer:
            last = self.model.last_shared
            return [_or_zeros(g, w.value) * last[w.path] for w, g, _ in found if w.path in last]
        return [_or_zeros(g, w.value) for w, g, objectives in found if objectives > 1]


def _or_zeros(gradient: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(like) if gradient is None else gradient


def _mix(
    weights: tf.Tensor, gradients: Sequence[tf.Tensor | None], more: tf.Tensor | None
) -> tf.Tensor:
    """Σ_k w_k · g_k + more."""
    parts = [w * g for w, g in zip(tf.unstack(weights), gradients, strict=True) if g is not None]
    return tf.add_n([*parts, *([] if more is None else [more])])
