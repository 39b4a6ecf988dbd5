"""The backward pass: the losses of a batch, the gradients of their weighted sum, and those that a
weighting compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from model.embeddings.tables import Columns
from model.objectives.objective import Objective
from model.optimizers.loss_scale import LossScale
from model.ranking import RankingModel
from model.weighting.base import Weighting

SUM = tf.distribute.ReduceOp.SUM
Batch = dict[str, tf.Tensor]


class Losses(NamedTuple):
    """The losses of the objectives and penalties, and which of them have a row in the batch, each
    [J].
    """

    values: tf.Tensor
    present: tf.Tensor


class Gradients(NamedTuple):
    """Of one loss: with respect to what was looked up in each table [B, E, dim], and to the dense
    weights; None where it does not reach.
    """

    embedded: list[tf.Tensor | None]
    weights: list[tf.Tensor | None]


class Weighed:
    """Which of the J objectives a weighting weighs: K of them, all but the penalties, which weigh
    1.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.all = [o.name for o in objectives]
        self.names = [o.name for o in objectives if o.penalty is None]
        self._places = [i for i, o in enumerate(objectives) if o.penalty is None]
        self._rest = [i for i, o in enumerate(objectives) if o.penalty]
        self._sources = [
            len(self.names) if o.penalty else self.names.index(o.name) for o in objectives
        ]

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """[J] → [K]."""
        return tf.gather(values, self._places)

    def split(self, values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """[J] → K scalars, and those of the penalties."""
        each = tf.unstack(values)
        return [each[i] for i in self._places], [each[i] for i in self._rest]

    def weights(self, weights: tf.Tensor) -> tf.Tensor:
        """[K] → [J]."""
        return tf.gather(tf.concat([weights, [1.0]], 0), self._sources)


class Backward:
    """A replica's batch → its share of the losses and gradients; shares add up over replicas.

    A loss is Σ over the replica's rows / rows of the sample space on all replicas (Σ of weights,
    where rows have them), 0 where the space is empty. Only the denominator is reduced: reducing the
    numerator inside the tape would count every gradient once per replica.
    """

    def __init__(
        self,
        model: RankingModel,
        weighed: Weighed,
        weighting: Weighting,
        loss_scale: LossScale | None,
        replicas: int,
        *,
        xla: bool,
    ) -> None:
        self.model, self.weighed, self.weighting, self.loss_scale, self.replicas = (
            model,
            weighed,
            weighting,
            loss_scale,
            replicas,
        )
        if xla:
            self._differentiate = tf.function(
                self._differentiate, jit_compile=True, autograph=False
            )

    def __call__(self, batch: Batch) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """(the losses before their weights, the gradients of their weighted sum by tables and by
        dense weights).
        """
        replica, model = tf.distribute.get_replica_context(), self.model
        columns = model.read(batch["ids"], batch["dense"])
        places = model.places(columns)
        labels = {name: batch[name] for name in [*model.spec.labels, "weight"] if name in batch}
        blank = tf.nest.map_structure(
            lambda p: tf.broadcast_to(p, tf.shape(batch["ids"])[:1]), model.blank
        )
        counts = [
            objective.sums(labels.get("weight", 1.0))[1]
            for objective in model.funnel.objectives(blank, labels)
        ]
        rows = replica.all_reduce(SUM, tf.stack(counts))
        scale = self.loss_scale.value.read_value() if self.loss_scale else tf.ones([])
        losses, each = self._differentiate(
            columns, model.look_up(places), labels, rows, self.weighting.current(), scale
        )
        found = each[0] if len(each) == 1 else self._balance(each, self.weighed.of(losses), replica)
        slices = [
            tf.IndexedSlices(
                tf.reshape(g, [-1, g.shape[-1]]),
                tf.reshape(place, [-1]),
                tf.shape(table.variable, tf.int64),
            )
            for g, place, table in zip(found.embedded, places, model.tables, strict=True)
        ]
        return Losses(losses, rows > 0), slices, found.weights

    def _differentiate(
        self,
        columns: Columns,
        embedded: list[tf.Tensor],
        labels: Batch,
        rows: tf.Tensor,
        weights: tf.Tensor,
        scale: tf.Tensor,
    ) -> tuple[tf.Tensor, list[Gradients]]:
        """The losses [J] and the gradients of their weighted sum, or, where the weighting asks for
        each, of every loss that it weighs and, last, of what it does not: the penalties and the L2.
        """
        dense = [w.value for w in self.model.weights]
        with tf.GradientTape(persistent=self.weighting.of_gradients) as tape:
            tape.watch(embedded)
            predictions = self.model.forward(columns, embedded, training=True)
            sums = [
                objective.sums(labels.get("weight", 1.0))[0]
                for objective in self.model.funnel.objectives(predictions, labels)
            ]
            losses = tf.math.divide_no_nan(tf.stack(sums), rows)
            l2 = self.model.regularisation() / self.replicas
            if self.weighting.of_gradients:
                objectives, penalties = self.weighed.split(losses)
                targets = [
                    *(loss * scale for loss in objectives),
                    tf.add_n([*penalties, l2]) * scale,
                ]
            else:
                targets = [(tf.reduce_sum(self.weighed.weights(weights) * losses) + l2) * scale]
        each = []
        for target in targets:
            found = tape.gradient(target, [*embedded, *dense])
            found = [g if g is None else g / scale for g in found] if self.loss_scale else found
            each.append(Gradients(found[: len(embedded)], found[len(embedded) :]))
        return losses, each

    def _balance(
        self, each: list[Gradients], losses: tf.Tensor, replica: tf.distribute.ReplicaContext
    ) -> Gradients:
        """The gradients where the objectives' weights follow from their own: those are added up
        over replicas before they are looked at, so that any number of replicas balances alike. The
        last of `each` is of what is not weighed.
        """
        *each, rest = each
        reached = [
            sum(own.weights[i] is not None for own in each) for i in range(len(rest.weights))
        ]
        shared = [self._compared(own, reached) for own in each]
        weights = self.weighting.balance(
            replica.all_reduce(SUM, shared), replica.all_reduce(SUM, losses)
        )
        alone = tf.ones_like(weights) if self.weighting.for_shared_alone else weights
        embedded = [
            _mix(alone, own, more)
            for *own, more in zip(*(one.embedded for one in [*each, rest]), strict=True)
        ]
        mixed = [
            _mix(weights if count > 1 else alone, own, more)
            for count, (*own, more) in zip(
                reached, zip(*(one.weights for one in [*each, rest]), strict=True), strict=True
            )
        ]
        return Gradients(embedded, mixed)

    def _compared(self, own: Gradients, reached: list[int]) -> list[tf.Tensor]:
        """An objective's gradients that the weighting looks at."""
        found = zip(self.model.weights, own.weights, reached, strict=True)
        if self.weighting.of_last_layer:
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
