"""The inner loop of training: tensors only, n steps in one graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.embedding import Columns
from model.optimizers.dense import optimizer_state
from model.optimizers.loss_scale import LossScale, all_finite
from model.optimizers.tables import RowGradients, TableOptimizer, add_up
from model.precision import choose, policy
from model.ranking import RankingModel
from model.strategy import workers
from model.train_config import TrainConfig
from model.weighting import WEIGHTING

SUM = tf.distribute.ReduceOp.SUM
Batch = dict[str, tf.Tensor]


class Losses(NamedTuple):
    """The losses of the objectives [K], and which of them have a row in the batch [K]."""

    values: tf.Tensor
    present: tf.Tensor


class Gradients(NamedTuple):
    """Of one loss: with respect to what was looked up in each table [B, E, dim], and to the dense weights; None where it does not reach."""

    embedded: list[tf.Tensor]
    weights: list[tf.Tensor | None]


class Stretch(NamedTuple):
    """What n steps tell: the mean losses [K], whether all gradients were finite, the seconds spent waiting for input, the last batch."""

    losses: tf.Tensor
    finite: tf.Tensor
    waited: tf.Tensor
    last: Batch


class Trainer(tf.Module):
    """A model, its optimizers and its steps, on every replica of a strategy."""

    def __init__(self, spec: Spec, model: ModelConfig, train: TrainConfig, fitted: Fitted, strategy: tf.distribute.Strategy) -> None:
        super().__init__()
        train.check(spec)
        self.spec, self.config, self.strategy, self.objectives = spec, train, strategy, model.objectives(spec)
        self.replicas = strategy.num_replicas_in_sync
        if train.batch_size % self.replicas:
            raise FunnelError(f"train.batch_size = {train.batch_size} is global and must divide evenly among {self.replicas} replicas")
        self.mode = choose(train.precision, train.xla, self.replicas)
        with strategy.scope(), policy(self.mode.precision):
            self.model = RankingModel(spec, model, fitted, train.seed)
            self.weighting = WEIGHTING[model.weighting.name](model.weighting, self.objectives)
            self._check_shared(model)
            self.step_number = tf.Variable(0, dtype=tf.int64, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
            self.optimizer = train.optimizer.make()
            self.optimizer.learning_rate = _Rate(self._dense_rate)
            self.optimizer.build(self._dense)
            rates = {name: o.learning_rate / train.embedding_learning_rate for name, o in train.features.items() if o.learning_rate}
            l2 = {name: options.l2 for name, options in train.features.items() if options.l2}
            self.table_optimizer = TableOptimizer(train.rule, self.model.tables, rates, l2)
            self.loss_scale = LossScale() if self.mode.precision == "float16" else None
        self.steps = tf.function(self._steps)  # of this trainer alone: another one's would count as tracing it again
        if self.mode.xla:
            self._differentiate = tf.function(self._differentiate, jit_compile=True)
        if self.mode.xla and self.replicas == 1:
            self._apply_dense = tf.function(self._apply_dense, jit_compile=True)

    def _check_shared(self, model: ModelConfig) -> None:
        if self.weighting.of_last_layer and not self.model.last_shared:
            raise FunnelError(
                f"model.weighting = '{model.weighting.name}' compares gradients of a layer that all tasks share, and sharing "
                f"'{model.sharing.name}' has none: choose another of either"
            )

    @property
    def _dense(self) -> list[keras.Variable]:
        """What the dense optimizer trains."""
        return [*self.model.weights, *self.weighting.trained]

    @property
    def state(self) -> dict[str, tf.Variable]:
        """The model's variables and, beside them, the optimizers', the weighting's and the step: what a checkpoint holds."""
        slots = {f"slots_{i}/{name}": v for i, own in enumerate(self.table_optimizer.slots) for name, v in own.items()}
        weighting = {f"weighting/{name}": v for name, v in self.weighting.state.items()}
        scale = self.loss_scale.state if self.loss_scale else {}
        optimizer = {f"optimizer/{name}": v for name, v in optimizer_state(self.optimizer).items()}
        return self.model.state | slots | weighting | scale | optimizer | {"step": self.step_number}

    @property
    def reached(self) -> int:
        """The steps taken."""
        return int(self.step_number.numpy())

    @property
    def objective_weights(self) -> dict[str, float]:
        """What each objective weighs now."""
        return dict(zip(self.objectives, self.weighting.current().numpy().tolist(), strict=True))

    @property
    def learning_rates(self) -> dict[str, float]:
        """Those of the next step."""
        return {"dense": float(self._dense_rate()), "tables": float(self._factor() * self.config.embedding_learning_rate)}

    def _factor(self) -> tf.Tensor:
        """What the schedule and the number of replicas make of the learning rates."""
        return self.config.schedule(self.step_number) * (self.replicas if self.config.scale_learning_rate == "linear" else 1)

    def _dense_rate(self) -> tf.Tensor:
        return self._factor() * self.config.learning_rate

    def _steps(self, batches: Iterator[Batch], count: tf.Tensor) -> Stretch:
        """Takes `count` steps; the losses are means over them, before the objectives' weights.

        It stops where the input of a process ends, and after a step whose losses or gradients are not finite.
        """
        totals, waited, taken = tf.zeros([len(self.objectives)]), tf.zeros([], tf.float64), tf.zeros([])
        finite = tf.constant(True)
        batch = {name: tf.zeros([0, *like.shape[1:]], like.dtype) for name, like in batches.element_spec.items()}
        shapes = {name: tf.TensorShape([None, *like.shape[1:]]) for name, like in batches.element_spec.items()}
        for _ in tf.range(count):
            tf.autograph.experimental.set_loop_options(shape_invariants=[(batch, shapes)])
            asked = tf.timestamp()
            found = batches.get_next_as_optional()  # next() would raise beside a step that no tensor makes wait for it
            present = found.has_value()
            waited += tf.timestamp() - asked
            if not (present if workers() == 1 else self._sum(tf.cast(present, tf.float32)) == self.replicas):
                break
            batch = found.get_value()
            taken += 1
            told = self.strategy.run(self.step, args=(batch,))
            losses, bad = self.strategy.experimental_local_results(told)[0]
            totals, finite = totals + losses, bad == 0
            if not (finite and tf.reduce_all(tf.math.is_finite(totals))):
                break
        return Stretch(tf.math.divide_no_nan(totals, taken), finite, waited, batch)

    @tf.function
    def _observe(self, ids: tf.Tensor, dense: tf.Tensor) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        places = self.model.places(self.model.read(ids, dense))
        touched = [tf.size(tf.unique(tf.reshape(place, [-1]))[0]) for place in places]
        gates = {name: tf.cast(g, tf.float32) for name, g in self.model.gate_weights(ids, dense).items()}
        return touched, {name: -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(g, g), 1)) for name, g in gates.items()}

    def observe(self, batch: Batch) -> tuple[dict[str, int], dict[str, float]]:
        """Of a batch: the distinct rows that it reads of each table, and the mean entropy of each gate, in nats."""
        touched, entropies = self._observe(batch["ids"], batch["dense"])
        names = [name for name in self.model.state if name.startswith("embeddings_")]
        return {n: int(t) for n, t in zip(names, touched, strict=True)}, {name: float(e) for name, e in entropies.items()}

    def any_worker(self, wish: bool) -> bool:
        """Whether a process of the training wishes it: all of them must take the same decision."""
        return wish if workers() == 1 else bool(self._most(tf.constant(wish, tf.int32)))

    def barrier(self) -> None:
        """Waits for all processes of the training."""
        self.any_worker(False)

    @tf.function
    def _most(self, wish: tf.Tensor) -> tf.Tensor:
        return self._sum(tf.cast(wish, tf.float32))

    def _sum(self, value: tf.Tensor) -> tf.Tensor:
        """Over all replicas."""
        sums = self.strategy.run(lambda: tf.distribute.get_replica_context().all_reduce(SUM, tf.identity(value)))
        return self.strategy.experimental_local_results(sums)[0]

    def step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """One step of one replica on its slice of the batch; returns the global losses [objectives], and on how many replicas gradients
        were not finite: a relu may turn NaN into 0, and the loss show nothing. float16 skips such steps, and expects them.

        Gradients are added up over replicas, then looked at (clipped, checked), then applied.
        """
        replica = tf.distribute.get_replica_context()
        batch = self._slice(batch, replica)
        (losses, present), tables, gradients = self.gradients(batch)
        own = self.weighting.trained_gradients(losses, present, self.replicas)
        tables = [add_up(t) for t in (replica.all_reduce(SUM, tables) if tables else [])]
        factor, finite = self._clip(tables, [*gradients, *own], replica)
        if factor is not None:
            tables = [RowGradients(rows, sums * factor) for rows, sums in tables]
            gradients, own = [g * factor for g in gradients], [g * factor for g in own]
        rate, number = self._factor() * self.config.embedding_learning_rate, tf.cast(self.optimizer.iterations + 1, tf.float32)
        self.table_optimizer.apply(tables, rate, number, keep=finite)
        self._apply_dense([*gradients, *own], finite)
        bad = tf.zeros([]) if self.loss_scale else tf.cast(~all_finite(gradients), tf.float32)
        losses, bad = replica.all_reduce(SUM, [losses, bad])
        self.weighting.advance(losses, present)
        self.step_number.assign_add(1)
        return losses, bad

    def _clip(
        self, tables: list[RowGradients], dense: list[tf.Tensor], replica: tf.distribute.ReplicaContext
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """(the factor that brings the norm of all gradients down to clip_norm, whether all are finite), None where nobody asks."""
        if self.config.clip_norm is None and self.loss_scale is None:
            return None, None
        whole = [*(sums for _, sums in tables), *replica.all_reduce(SUM, dense)]
        factor, finite = None, None
        if self.loss_scale is not None:
            finite = all_finite(whole)
            self.loss_scale.advance(finite)
        if self.config.clip_norm is not None:
            factor = tf.minimum(1.0, tf.math.divide_no_nan(self.config.clip_norm, tf.linalg.global_norm(whole)))
        return factor, finite

    def _apply_dense(self, gradients: list[tf.Tensor], finite: tf.Tensor | None) -> None:
        """Keras' optimizer adds up the replicas' gradients itself. Where they are not `finite` it is undone."""
        variables = [v.value for v in [*self._dense, *self.optimizer.variables]] if finite is not None else []
        before = [tf.identity(v) for v in variables]
        self.optimizer.apply(gradients, self._dense)
        for variable, value in zip(variables, before, strict=True):
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.where(finite, variable.read_value(), value))

    def gradients(self, batch: Batch) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """This replica's share of the losses and of the gradients, of tables and dense weights, of their weighted sum; shares add up.

        A loss is Σ over the replica's rows / rows of the sample space on all replicas (Σ of weights, where rows have them), 0 where
        the space is empty. Only the denominator is reduced: reducing the numerator inside the tape would count every gradient once
        per replica.
        """
        replica, model = tf.distribute.get_replica_context(), self.model
        columns = model.read(batch["ids"], batch["dense"])
        places = model.places(columns)
        labels = {name: batch[name] for name in [*self.spec.labels, "weight"] if name in batch}
        blank = tf.nest.map_structure(lambda p: tf.broadcast_to(p, tf.shape(batch["ids"])[:1]), model.blank)
        counts = [objective.sums(labels.get("weight", 1.0))[1] for objective in model.funnel.objectives(blank, labels)]
        rows = replica.all_reduce(SUM, tf.stack(counts))
        scale = self.loss_scale.value.read_value() if self.loss_scale else tf.ones([])
        losses, each = self._differentiate(columns, model.look_up(places), labels, rows, self.weighting.current(), scale)
        found = each[0] if len(each) == 1 else self._balance(each, losses, replica)
        slices = [
            tf.IndexedSlices(tf.reshape(g, [-1, g.shape[-1]]), tf.reshape(place, [-1]), tf.shape(table.variable, tf.int64))
            for g, place, table in zip(found.embedded, places, model.tables, strict=True)
        ]
        return Losses(losses, rows > 0), slices, found.weights

    def _differentiate(
        self, columns: Columns, embedded: list[tf.Tensor], labels: Batch, rows: tf.Tensor, weights: tf.Tensor, scale: tf.Tensor
    ) -> tuple[tf.Tensor, list[Gradients]]:
        """The losses [K] and the gradients of their weighted sum, or, where the weighting asks for each, of every loss and of the L2."""
        dense = [w.value for w in self.model.weights]
        with tf.GradientTape(persistent=self.weighting.of_gradients) as tape:
            tape.watch(embedded)
            predictions = self.model.forward(columns, embedded, training=True)
            sums = [objective.sums(labels.get("weight", 1.0))[0] for objective in self.model.funnel.objectives(predictions, labels)]
            losses = tf.math.divide_no_nan(tf.stack(sums), rows)
            penalty = self.model.regularisation() / self.replicas
            if self.weighting.of_gradients:
                targets = [*(loss * scale for loss in tf.unstack(losses)), penalty * scale]
            else:
                targets = [(tf.reduce_sum(weights * losses) + penalty) * scale]
        each = []
        for target in targets:
            found = tape.gradient(target, [*embedded, *dense])
            found = [g if g is None else g / scale for g in found] if self.loss_scale else found
            each.append(Gradients(found[: len(embedded)], found[len(embedded) :]))
        return losses, each

    def _balance(self, each: list[Gradients], losses: tf.Tensor, replica: tf.distribute.ReplicaContext) -> Gradients:
        """The gradients where the objectives' weights follow from their own: those are added up over replicas before they are looked at, so
        that any number of replicas balances alike. The last of `each` is the L2's.
        """
        *each, penalty = each
        reached = [sum(own.weights[i] is not None for own in each) for i in range(len(penalty.weights))]
        chosen = self._compared(reached)
        shared = [[_or_zeros(own.weights[i], self.model.weights[i].value) for i in chosen] for own in each]
        weights = self.weighting.balance(replica.all_reduce(SUM, shared), replica.all_reduce(SUM, losses))
        alone = tf.ones_like(weights) if self.weighting.for_shared_alone else weights
        embedded = [_mix(alone, own) for own in zip(*(one.embedded for one in each), strict=True)]
        mixed = []
        for i, own in enumerate(zip(*(one.weights for one in each), strict=True)):
            mixed.append(_mix(weights if reached[i] > 1 else alone, own, penalty.weights[i]))
        return Gradients(embedded, mixed)

    def _compared(self, reached: list[int]) -> list[int]:
        """Which dense weights' gradients the weighting looks at."""
        if self.weighting.of_last_layer:
            last = {w.path for w in self.model.last_shared}
            return [i for i, w in enumerate(self.model.weights) if w.path in last]
        return [i for i, objectives in enumerate(reached) if objectives > 1]

    def _slice(self, batch: Batch, replica: tf.distribute.ReplicaContext) -> Batch:
        """This replica's rows of what its process read."""
        own = self.replicas // workers()
        if own == 1:
            return batch
        size = self.config.batch_size // self.replicas
        start = (replica.replica_id_in_sync_group % own) * size
        return {name: tensor[start : start + size] for name, tensor in batch.items()}


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate as the trainer's own step says: the optimizer's count of updates may come from an earlier run."""

    def __init__(self, rate: Any) -> None:
        super().__init__()
        self._rate = rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._rate()


def _or_zeros(gradient: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(like) if gradient is None else gradient


def _mix(weights: tf.Tensor, gradients: tuple[tf.Tensor | None, ...], more: tf.Tensor | None = None) -> tf.Tensor:
    """Σ_k w_k · g_k + more."""
    parts = [w * g for w, g in zip(tf.unstack(weights), gradients, strict=True) if g is not None]
    return tf.add_n([*parts, *([] if more is None else [more])])
