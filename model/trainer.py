"""The inner loop of training: tensors only, n steps in one graph."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig, TrainConfig
from model.optimizers import SparseAdagrad
from model.ranking import RankingModel

SUM = tf.distribute.ReduceOp.SUM


def make_strategy(cpu_devices: int | None) -> tf.distribute.Strategy:
    """MirroredStrategy over all GPUs, or over `cpu_devices` logical CPU devices; otherwise one device.

    Logical devices are made before TensorFlow first runs anything: FunnelError afterwards.
    """
    gpus = tf.config.list_logical_devices("GPU") if cpu_devices is None else []
    if gpus:
        return _mirrored(*(gpu.name for gpu in gpus))
    if cpu_devices is None:
        return tf.distribute.get_strategy()
    present = len(tf.config.list_logical_devices("CPU")) if _initialised() else 0
    if not present:
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * cpu_devices)
    elif present < cpu_devices:
        raise FunnelError(f"train.cpu_devices = {cpu_devices}, but TensorFlow already runs with {present}: start a new process")
    return _mirrored(*(f"CPU:{i}" for i in range(cpu_devices)))


@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """One strategy for the same devices: a second in the process would number its all-reduces as the first did, and clash with them."""
    return tf.distribute.MirroredStrategy(list(devices))


def _initialised() -> bool:
    """Whether the set of devices is already fixed."""
    processor = tf.config.list_physical_devices("CPU")[0]
    known = tf.config.get_logical_device_configuration(processor)
    try:
        tf.config.set_logical_device_configuration(processor, known or [tf.config.LogicalDeviceConfiguration()])
    except RuntimeError:
        return True
    return bool(known)


class Trainer(tf.Module):
    """A model, its optimizers and its steps, on every replica of a strategy."""

    def __init__(self, spec: Spec, model: ModelConfig, train: TrainConfig, fitted: Fitted, strategy: tf.distribute.Strategy) -> None:
        super().__init__()
        self.spec, self.strategy = spec, strategy
        replicas = strategy.num_replicas_in_sync
        if train.batch_size % replicas:
            raise FunnelError(f"train.batch_size = {train.batch_size} is global and must divide evenly among {replicas} replicas")
        with strategy.scope():
            self.model = RankingModel(spec, model, fitted, train.seed)
            self.optimizer = keras.optimizers.Adam(train.learning_rate, name="adam")
            self.optimizer.build(self.model.weights)
            self.table_optimizer = SparseAdagrad(train.embedding_learning_rate, self.model.tables)

    @property
    def state(self) -> dict[str, tf.Variable]:
        """The model's variables and, beside them, the optimizers'."""
        accumulators = {f"accumulator_{i}": a for i, a in enumerate(self.table_optimizer.accumulators)}
        return self.model.state | accumulators | {v.path: v.value for v in self.optimizer.variables}

    @tf.function
    def steps(self, batches: Iterator[dict[str, tf.Tensor]], count: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes `count` steps; returns the mean loss of each objective."""
        names = self._objective_names
        totals = tf.zeros([len(names)])
        for _ in tf.range(count):
            losses = self.strategy.run(self.step, args=(next(batches),))
            totals += self.strategy.experimental_local_results(losses)[0]
        means = totals / tf.cast(count, tf.float32)
        return {name: means[i] for i, name in enumerate(names)}

    @property
    def _objective_names(self) -> list[str]:
        nothing = {name: tf.zeros([1], tf.int64) for name in self.spec.labels}
        predictions = self.model(tf.zeros([1, self.spec.ids_width], tf.int64), tf.zeros([1, self.spec.dense_width]))
        return [o.name for o in self.model.funnel.objectives(predictions, nothing)]

    def step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """One step of one replica on its slice of the global batch; returns the global losses [objectives]."""
        replica = tf.distribute.get_replica_context()
        losses, table_gradients, gradients = self.gradients(self._slice(batch, replica))
        replica.merge_call(self.table_optimizer.apply, args=(table_gradients, self.model.tables))
        self.optimizer.apply(gradients, self.model.weights)  # adds up the replicas' gradients itself
        return replica.all_reduce(SUM, losses)

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[tf.IndexedSlices], list[tf.Tensor]]:
        """This replica's share of the losses [objectives] and of the gradients of their sum; shares add up over replicas.

        A loss is Σ over the replica's rows / rows of the sample space on all replicas (Σ of weights, where rows have them), 0 where
        the space is empty. Only the denominator is reduced: reducing the
        numerator inside the tape would count every gradient once per replica.
        """
        replica = tf.distribute.get_replica_context()
        model = self.model
        with tf.GradientTape() as tape:
            predictions = model(batch["ids"], batch["dense"], training=True)
            sums = [objective.sums(batch.get("weight", 1.0)) for objective in model.funnel.objectives(predictions, batch)]
            rows = replica.all_reduce(SUM, tf.stack([count for _, count in sums]))
            losses = tf.math.divide_no_nan(tf.stack([total for total, _ in sums]), rows)
            loss = tf.reduce_sum(losses) + model.regularisation() / replica.num_replicas_in_sync
        tables = model.tables
        found = tape.gradient(loss, [*tables, *(w.value for w in model.weights)])
        return losses, found[: len(tables)], found[len(tables) :]

    def _slice(self, batch: dict[str, tf.Tensor], replica: tf.distribute.ReplicaContext) -> dict[str, tf.Tensor]:
        size = tf.shape(batch["ids"])[0] // replica.num_replicas_in_sync
        start = replica.replica_id_in_sync_group * size
        return {name: tensor[start : start + size] for name, tensor in batch.items()}
