"""The inner loop of training: tensors only, n steps in one graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.optimizers.tables import add_up
from model.ranking import RankingModel
from model.training.collectives import SUM, sum_over_replicas
from model.training.config import TrainConfig
from model.training.gradients import Backward, Batch, Losses, ObjectiveIndex
from model.training.precision import choose, policy
from model.training.updates import Updates
from model.training.workers import workers
from model.weighting import WEIGHTING


class StepsResult(NamedTuple):
    """Outputs of a run of n steps: the mean losses [J], whether all gradients were finite, the
    seconds spent waiting for input, and the last batch.
    """

    losses: tf.Tensor
    finite: tf.Tensor
    waited: tf.Tensor
    last: Batch


class Trainer(tf.Module):
    """A model, its optimizers and its steps, on every replica of a strategy.

    Args:
        spec: features, labels and tasks.
        model: the architecture.
        train: optimizers and batches; its batch size must not be open.
        fitted: the statistics that the features need.
        strategy: the devices.

    Raises:
        FunnelError: the batch size is open or does not divide evenly among the replicas, or the
            configuration does not fit the features.
    """

    def __init__(
        self,
        spec: Spec,
        model: ModelConfig,
        train: TrainConfig,
        fitted: Fitted,
        strategy: tf.distribute.Strategy,
    ) -> None:
        super().__init__()
        train.check(spec, wide=model.wide)
        self.spec, self.config, self.strategy = spec, train, strategy
        self.replicas = strategy.num_replicas_in_sync
        self.batch_size = _batch_size(train, self.replicas)
        self.mode = choose(train.precision, train.xla)
        with strategy.scope(), policy(self.mode.precision):
            self.model = RankingModel(spec, model, fitted, train.seed)
            index = ObjectiveIndex(self.model.objectives)
            self.weighting = WEIGHTING[model.weighting.name](model.weighting, index.names)
            self.step_number = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.updates = Updates(
                train,
                self.model,
                self.weighting.trained,
                step=self.step_number,
                replicas=self.replicas,
                float16=self.mode.precision == "float16",
                xla=self.mode.xla and self.replicas == 1,
            )
        self.objectives = index.all
        self.backward = Backward(
            self.model,
            index,
            self.weighting,
            self.updates.loss_scale,
            self.replicas,
            xla=self.mode.xla,
        )
        # Made for this trainer: on the class, another trainer would count as tracing it again.
        self.steps = tf.function(self._steps)

    @property
    def state(self) -> dict[str, tf.Variable]:
        """What a checkpoint holds: the variables of the model, the optimizers and the weighting,
        and the step.
        """
        weighting = {f"weighting/{name}": v for name, v in self.weighting.state.items()}
        return self.model.state | self.updates.state | weighting | {"step": self.step_number}

    @property
    def reached(self) -> int:
        """The number of steps taken."""
        return int(self.step_number.numpy())

    @property
    def objective_weights(self) -> dict[str, float]:
        """The current weight of each objective; 1 of a penalty."""
        weights = self.backward.index.expand(self.weighting.current()).numpy().tolist()
        return dict(zip(self.objectives, weights, strict=True))

    @property
    def learning_rates(self) -> dict[str, float]:
        """{"dense", "tables"} of the next step."""
        updates = self.updates
        return {"dense": float(updates.dense_rate()), "tables": float(updates.table_rate())}

    def _steps(self, batches: Any, count: tf.Tensor) -> StepsResult:
        """Takes `count` steps; the losses are means over them, before the objectives' weights.

        It stops where the input of a process ends, and after a step whose losses or gradients are
        not finite.
        """
        totals, taken = tf.zeros([len(self.objectives)]), tf.zeros([])
        waited, finite = tf.zeros([], tf.float64), tf.constant(True)
        spec = batches.element_spec
        batch = {name: tf.zeros([0, *like.shape[1:]], like.dtype) for name, like in spec.items()}
        shapes = {name: tf.TensorShape([None, *like.shape[1:]]) for name, like in spec.items()}
        for _ in tf.range(count):
            tf.autograph.experimental.set_loop_options(shape_invariants=[(batch, shapes)])
            wait_started = tf.timestamp()
            # Nothing else orders the clock and the input. next() would raise beside a step that no
            # tensor makes wait for it.
            with tf.control_dependencies([wait_started]):
                found = batches.get_next_as_optional()
                present = found.has_value()
            with tf.control_dependencies([present]):
                waited += tf.timestamp() - wait_started
            if not self._on_all_workers(present):
                break
            batch = found.get_value()
            taken += 1
            per_replica = self.strategy.run(self.step, args=(batch,))
            losses, bad = self.strategy.experimental_local_results(per_replica)[0]
            totals, finite = totals + losses, bad == 0
            if not (finite and tf.reduce_all(tf.math.is_finite(totals))):
                break
        return StepsResult(tf.math.divide_no_nan(totals, taken), finite, waited, batch)

    def _on_all_workers(self, present: tf.Tensor) -> tf.Tensor:
        if workers() == 1:
            return present
        return sum_over_replicas(self.strategy, tf.cast(present, tf.float32)) == self.replicas

    # Converting it took 7 of the 11 seconds before a process' first step.
    @tf.autograph.experimental.do_not_convert
    def step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """One step of one replica on its slice of the batch.

        Gradients are added up over replicas, then clipped and checked, then applied.

        Returns:
            The global losses [objectives], and on how many replicas gradients were not finite: a
            relu may turn NaN into 0, so that the loss does not show it.
        """
        replica, index = tf.distribute.get_replica_context(), self.backward.index
        (losses, present), tables, gradients = self.gradients(self._slice(batch, replica))
        present = index.select(present)
        own = self.weighting.trained_gradients(index.select(losses), present, self.replicas)
        tables = [add_up(t) for t in (replica.all_reduce(SUM, tables) if tables else [])]
        bad = self.updates.apply(tables, gradients, own)
        losses, bad = replica.all_reduce(SUM, [losses, bad])
        self.weighting.advance(index.select(losses), present)
        self.step_number.assign_add(1)
        return losses, bad

    def gradients(self, batch: Batch) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """This replica's share of the losses and of the gradients, of tables and of dense weights;
        see Backward.
        """
        return self.backward(batch)

    def _slice(self, batch: Batch, replica: tf.distribute.ReplicaContext) -> Batch:
        """This replica's rows of what its process read."""
        per_replica = self.replicas // workers()
        if per_replica == 1:
            return batch
        size = self.batch_size // self.replicas
        start = (replica.replica_id_in_sync_group % per_replica) * size
        return {name: tensor[start : start + size] for name, tensor in batch.items()}

    @tf.function(autograph=False)
    def _observe(
        self, ids: tf.Tensor, dense: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        row_ids = self.model.row_ids(self.model.read(ids, dense))
        touched = {
            name: tf.size(tf.unique(tf.reshape(rows, [-1]))[0])
            for name, rows in zip(self.model.named_tables, row_ids, strict=True)
            if name.startswith("embeddings_")
        }
        entropies = {}
        for name, weights in self.model.gate_weights(ids, dense).items():
            g = tf.cast(weights, tf.float32)
            entropies[name] = -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(g, g), 1))
        return touched, entropies

    def observe(self, batch: Batch) -> tuple[dict[str, int], dict[str, float]]:
        """What a batch shows of the model.

        Returns:
            (the distinct rows that it reads of each embedding table, the mean entropy of each gate
            in nats).
        """
        touched, entropies = self._observe(batch["ids"], batch["dense"])
        return (
            {name: int(count) for name, count in touched.items()},
            {name: float(entropy) for name, entropy in entropies.items()},
        )

    def any_worker(self, flag: bool) -> bool:
        """Whether the flag is set on any worker, so that all take the same decision. Every worker
        must call it.
        """
        return flag if workers() == 1 else bool(self._sum(tf.constant(flag, tf.int32)))

    def barrier(self) -> None:
        """Waits for all workers."""
        self.any_worker(False)

    @tf.function
    def _sum(self, flag: tf.Tensor) -> tf.Tensor:
        return sum_over_replicas(self.strategy, tf.cast(flag, tf.float32))


def _batch_size(train: TrainConfig, replicas: int) -> int:
    """The global batch size. Raises FunnelError where replicas cannot share it out."""
    size = train.batch_size
    if size is None:
        raise FunnelError(
            "train.batch_size is open: give it, or make the configuration with RankingConfig.of, "
            "which knows the number of rows"
        )
    if size % replicas:
        below = size // replicas * replicas
        near = " or ".join(str(n) for n in (below, below + replicas) if n)
        raise FunnelError(
            f"train.batch_size = {size} is global and must divide evenly among {replicas} "
            f"replicas: set {near}"
        )
    return size
