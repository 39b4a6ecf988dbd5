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
from model.optimizers.dense import optimizer_state
from model.optimizers.loss_scale import LossScale, all_finite
from model.optimizers.tables import RowGradients, TableOptimizer, add_up
from model.ranking import RankingModel
from model.training.config import TrainConfig
from model.training.gradients import Backward, Batch, Losses, Weighed
from model.training.precision import choose, policy
from model.training.workers import workers
from model.weighting import WEIGHTING

SUM = tf.distribute.ReduceOp.SUM


class Stretch(NamedTuple):
    """What n steps tell: the mean losses [J], whether all gradients were finite, the seconds spent
    waiting for input, the last batch.
    """

    losses: tf.Tensor
    finite: tf.Tensor
    waited: tf.Tensor
    last: Batch


class Trainer(tf.Module):
    """A model, its optimizers and its steps, on every replica of a strategy."""

    def __init__(
        self,
        spec: Spec,
        model: ModelConfig,
        train: TrainConfig,
        fitted: Fitted,
        strategy: tf.distribute.Strategy,
    ) -> None:
        super().__init__()
        train.check(spec)
        self.spec, self.config, self.strategy = spec, train, strategy
        self.replicas = strategy.num_replicas_in_sync
        if train.batch_size is None:
            raise FunnelError(
                "train.batch_size is open: give it, or make the configuration with RankingConfig.of, which knows the rows"
            )
        if train.batch_size % self.replicas:
            raise FunnelError(
                f"train.batch_size = {train.batch_size} is global and must divide evenly among {self.replicas} replicas: "
                f"set {_multiples_near(train.batch_size, self.replicas)}"
            )
        self.mode = choose(train.precision, train.xla)
        with strategy.scope(), policy(self.mode.precision):
            self.model = RankingModel(spec, model, fitted, train.seed)
            weighed = Weighed(self.model.objectives)
            self.weighting = WEIGHTING[model.weighting.name](model.weighting, weighed.names)
            self.step_number = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.optimizer = train.optimizer.make()
            self.optimizer.learning_rate = _Rate(self._dense_rate)
            self.optimizer.build(self._dense)
            self.table_optimizer = self._table_optimizer()
            self.loss_scale = LossScale() if self.mode.precision == "float16" else None
        self.objectives = weighed.all
        self.backward = Backward(
            self.model, weighed, self.weighting, self.loss_scale, self.replicas, xla=self.mode.xla
        )
        self.steps = tf.function(
            self._steps
        )  # of this trainer alone: another one's would count as tracing it again
        if self.mode.xla and self.replicas == 1:
            self._apply_dense = tf.function(self._apply_dense, jit_compile=True, autograph=False)

    def _table_optimizer(self) -> TableOptimizer:
        train, common = self.config, self.config.embedding_learning_rate
        wide = train.wide_learning_rate / common
        return TableOptimizer(
            train.rule,
            self.model.tables,
            batch_size=train.batch_size,
            table_rates=[
                wide if name.startswith("wide/") else 1.0 for name in self.model.named_tables
            ],
            learning_rates={
                name: o.learning_rate / common
                for name, o in train.features.items()
                if o.learning_rate
            },
            l2={name: o.l2 for name, o in train.features.items() if o.l2},
        )

    @property
    def _dense(self) -> list[keras.Variable]:
        """What the dense optimizer trains."""
        return [*self.model.weights, *self.weighting.trained]

    @property
    def state(self) -> dict[str, tf.Variable]:
        """The model's variables and, beside them, the optimizers', the weighting's and the step:
        what a checkpoint holds.
        """
        of_tables = zip(self.model.named_tables, self.table_optimizer.slots, strict=True)
        slots = {f"slots/{table}/{name}": v for table, own in of_tables for name, v in own.items()}
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
        """What each objective weighs now, a penalty 1."""
        return dict(
            zip(
                self.objectives,
                self.backward.weighed.weights(self.weighting.current()).numpy().tolist(),
                strict=True,
            )
        )

    @property
    def learning_rates(self) -> dict[str, float]:
        """Those of the next step."""
        return {
            "dense": float(self._dense_rate()),
            "tables": float(self._factor() * self.config.embedding_learning_rate),
        }

    def _factor(self) -> tf.Tensor:
        """What the schedule and the number of replicas make of the learning rates."""
        return self.config.schedule(self.step_number) * (
            self.replicas if self.config.scale_learning_rate == "linear" else 1
        )

    def _dense_rate(self) -> tf.Tensor:
        return self._factor() * self.config.learning_rate

    def _steps(self, batches: Iterator[Batch], count: tf.Tensor) -> Stretch:
        """Takes `count` steps; the losses are means over them, before the objectives' weights.

        It stops where the input of a process ends, and after a step whose losses or gradients are
        not finite.
        """
        totals, waited, taken = (
            tf.zeros([len(self.objectives)]),
            tf.zeros([], tf.float64),
            tf.zeros([]),
        )
        finite = tf.constant(True)
        batch = {
            name: tf.zeros([0, *like.shape[1:]], like.dtype)
            for name, like in batches.element_spec.items()
        }
        shapes = {
            name: tf.TensorShape([None, *like.shape[1:]])
            for name, like in batches.element_spec.items()
        }
        for _ in tf.range(count):
            tf.autograph.experimental.set_loop_options(shape_invariants=[(batch, shapes)])
            asked = tf.timestamp()
            with tf.control_dependencies([asked]):  # nothing else orders the clock and the input
                found = (
                    batches.get_next_as_optional()
                )  # next() would raise beside a step that no tensor makes wait for it
                present = found.has_value()
            with tf.control_dependencies([present]):
                waited += tf.timestamp() - asked
            if not (
                present
                if workers() == 1
                else self._sum(tf.cast(present, tf.float32)) == self.replicas
            ):
                break
            batch = found.get_value()
            taken += 1
            told = self.strategy.run(self.step, args=(batch,))
            losses, bad = self.strategy.experimental_local_results(told)[0]
            totals, finite = totals + losses, bad == 0
            if not (finite and tf.reduce_all(tf.math.is_finite(totals))):
                break
        return Stretch(tf.math.divide_no_nan(totals, taken), finite, waited, batch)

    @tf.function(autograph=False)
    def _observe(
        self, ids: tf.Tensor, dense: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        places = zip(
            self.model.named_tables, self.model.places(self.model.read(ids, dense)), strict=True
        )
        touched = {
            n: tf.size(tf.unique(tf.reshape(p, [-1]))[0])
            for n, p in places
            if n.startswith("embeddings_")
        }
        gates = {
            name: tf.cast(g, tf.float32) for name, g in self.model.gate_weights(ids, dense).items()
        }
        return touched, {
            name: -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(g, g), 1))
            for name, g in gates.items()
        }

    def observe(self, batch: Batch) -> tuple[dict[str, int], dict[str, float]]:
        """Of a batch: the distinct rows that it reads of each embedding table, and the mean entropy
        of each gate, in nats.
        """
        touched, entropies = self._observe(batch["ids"], batch["dense"])
        return {n: int(t) for n, t in touched.items()}, {
            name: float(e) for name, e in entropies.items()
        }

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
        sums = self.strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce(SUM, tf.identity(value))
        )
        return self.strategy.experimental_local_results(sums)[0]

    # which took 7 of the 11 seconds before a process' first step
    @tf.autograph.experimental.do_not_convert
    def step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """One step of one replica on its slice of the batch; returns the global losses
        [objectives], and on how many replicas gradients were not finite: a relu may turn NaN into
        0, and the loss show nothing. float16 skips such steps, and expects them until its scale is
        at its least.

        Gradients are added up over replicas, then looked at (clipped, checked), then applied.
        """
        replica = tf.distribute.get_replica_context()
        batch = self._slice(batch, replica)
        (losses, present), tables, gradients = self.gradients(batch)
        present = self.backward.weighed.of(present)
        own = self.weighting.trained_gradients(
            self.backward.weighed.of(losses), present, self.replicas
        )
        tables = [add_up(t) for t in (replica.all_reduce(SUM, tables) if tables else [])]
        final = self.loss_scale.least if self.loss_scale else tf.constant(True)
        factor, finite = self._clip(tables, [*gradients, *own], replica)
        if factor is not None:
            tables = [RowGradients(rows, sums * factor) for rows, sums in tables]
            gradients, own = [g * factor for g in gradients], [g * factor for g in own]
        rate, number = (
            self._factor() * self.config.embedding_learning_rate,
            tf.cast(self.optimizer.iterations + 1, tf.float32),
        )
        self.table_optimizer.apply(tables, rate, number, keep=finite)
        self._apply_dense([*gradients, *own], finite)
        bad = tf.cast(final & ~(all_finite(gradients) if finite is None else finite), tf.float32)
        losses, bad = replica.all_reduce(SUM, [losses, bad])
        self.weighting.advance(self.backward.weighed.of(losses), present)
        self.step_number.assign_add(1)
        return losses, bad

    def _clip(
        self,
        tables: list[RowGradients],
        dense: list[tf.Tensor],
        replica: tf.distribute.ReplicaContext,
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """(the factor that brings the norm of all gradients down to clip_norm, whether all are
        finite), None where nobody asks.
        """
        if self.config.clip_norm is None and self.loss_scale is None:
            return None, None
        whole = [*(sums for _, sums in tables), *replica.all_reduce(SUM, dense)]
        factor, finite = None, None
        if self.loss_scale is not None:
            finite = all_finite(whole)
            self.loss_scale.advance(finite)
        if self.config.clip_norm is not None:
            factor = tf.minimum(
                1.0, tf.math.divide_no_nan(self.config.clip_norm, tf.linalg.global_norm(whole))
            )
        return factor, finite

    def _apply_dense(self, gradients: list[tf.Tensor], finite: tf.Tensor | None) -> None:
        """Keras' optimizer adds up the replicas' gradients itself. Where they are not `finite` it
        is undone.
        """
        variables = (
            [v.value for v in [*self._dense, *self.optimizer.variables]]
            if finite is not None
            else []
        )
        before = [tf.identity(v) for v in variables]
        self.optimizer.apply(gradients, self._dense)
        for variable, value in zip(variables, before, strict=True):
            tf.raw_ops.AssignVariableOp(
                resource=variable.handle, value=tf.where(finite, variable.read_value(), value)
            )

    def gradients(self, batch: Batch) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """This replica's share of the losses and of the gradients, of tables and dense weights; see
        Backward.
        """
        return self.backward(batch)

    def _slice(self, batch: Batch, replica: tf.distribute.ReplicaContext) -> Batch:
        """This replica's rows of what its process read."""
        own = self.replicas // workers()
        if own == 1:
            return batch
        size = self.config.batch_size // self.replicas
        start = (replica.replica_id_in_sync_group % own) * size
        return {name: tensor[start : start + size] for name, tensor in batch.items()}


def _multiples_near(size: int, parts: int) -> str:
    """The nearest sizes that can be shared out."""
    return " or ".join(
        str(near) for near in (size // parts * parts, (size // parts + 1) * parts) if near
    )


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate as the trainer's own step says: the optimizer's count of updates may come
    from an earlier run.
    """

    def __init__(self, rate: Any) -> None:
        super().__init__()
        self._rate = rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._rate()
