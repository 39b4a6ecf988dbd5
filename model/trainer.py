"""The inner loop of training: tensors only, n steps in one graph."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig, TrainConfig
from model.optimizers import SparseAdagrad
from model.ranking import RankingModel
from model.weighting import WEIGHTING

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


class Losses(NamedTuple):
    """The losses of the objectives [K], and which of them have a row in the batch [K]."""

    values: tf.Tensor
    present: tf.Tensor


class Trainer(tf.Module):
    """A model, its optimizers and its steps, on every replica of a strategy."""

    def __init__(self, spec: Spec, model: ModelConfig, train: TrainConfig, fitted: Fitted, strategy: tf.distribute.Strategy) -> None:
        super().__init__()
        self.spec, self.strategy, self.objectives = spec, strategy, model.objectives(spec)
        replicas = strategy.num_replicas_in_sync
        if train.batch_size % replicas:
            raise FunnelError(f"train.batch_size = {train.batch_size} is global and must divide evenly among {replicas} replicas")
        with strategy.scope():
            self.model = RankingModel(spec, model, fitted, train.seed)
            self.weighting = WEIGHTING[model.weighting.name](model.weighting, self.objectives)
            self._check_shared(model)
            self.optimizer = keras.optimizers.Adam(train.learning_rate, name="adam")
            self.optimizer.build(self._dense)
            self.table_optimizer = SparseAdagrad(train.embedding_learning_rate, self.model.tables)

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
        """The model's variables and, beside them, the optimizers' and the weighting's."""
        accumulators = {f"accumulator_{i}": a for i, a in enumerate(self.table_optimizer.accumulators)}
        weighting = {f"weighting/{name}": v for name, v in self.weighting.state.items()}
        return self.model.state | accumulators | weighting | {v.path: v.value for v in self.optimizer.variables}

    @property
    def objective_weights(self) -> dict[str, float]:
        """What each objective weighs now."""
        return dict(zip(self.objectives, self.weighting.current().numpy().tolist(), strict=True))

    @tf.function
    def steps(self, batches: Iterator[dict[str, tf.Tensor]], count: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes `count` steps; returns the mean loss of each objective, before its weight."""
        totals = tf.zeros([len(self.objectives)])
        for _ in tf.range(count):
            losses = self.strategy.run(self.step, args=(next(batches),))
            totals += self.strategy.experimental_local_results(losses)[0]
        means = totals / tf.cast(count, tf.float32)
        return {name: means[i] for i, name in enumerate(self.objectives)}

    def step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """One step of one replica on its slice of the global batch; returns the global losses [objectives]."""
        replica = tf.distribute.get_replica_context()
        (losses, present), table_gradients, gradients = self.gradients(self._slice(batch, replica))
        own = self.weighting.trained_gradients(losses, present, replica.num_replicas_in_sync)
        replica.merge_call(self.table_optimizer.apply, args=(table_gradients, self.model.tables))
        self.optimizer.apply([*gradients, *own], self._dense)  # adds up the replicas' gradients itself
        losses = replica.all_reduce(SUM, losses)
        self.weighting.advance(losses, present)
        return losses

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Losses, list[tf.IndexedSlices], list[tf.Tensor]]:
        """This replica's share of the losses and of the gradients of their weighted sum; shares add up over replicas.

        A loss is Σ over the replica's rows / rows of the sample space on all replicas (Σ of weights, where rows have them), 0 where
        the space is empty. Only the denominator is reduced: reducing the numerator inside the tape would count every gradient once
        per replica.
        """
        replica = tf.distribute.get_replica_context()
        model = self.model
        with tf.GradientTape(persistent=self.weighting.of_gradients) as tape:
            predictions = model(batch["ids"], batch["dense"], training=True)
            sums = [objective.sums(batch.get("weight", 1.0)) for objective in model.funnel.objectives(predictions, batch)]
            rows = replica.all_reduce(SUM, tf.stack([count for _, count in sums]))
            each = tf.unstack(tf.math.divide_no_nan(tf.stack([total for total, _ in sums]), rows))
            losses = tf.stack(each)
            penalty = model.regularisation() / replica.num_replicas_in_sync
        if self.weighting.of_gradients:
            return Losses(losses, rows > 0), *self._balanced(tape, each, penalty)
        found = tape.gradient([losses, penalty], [*model.tables, *self._weights], output_gradients=[self.weighting.current(), tf.ones([])])
        return Losses(losses, rows > 0), found[: len(model.tables)], found[len(model.tables) :]

    @property
    def _weights(self) -> list[tf.Variable]:
        return [w.value for w in self.model.weights]

    def _balanced(
        self, tape: tf.GradientTape, losses: list[tf.Tensor], penalty: tf.Tensor
    ) -> tuple[list[tf.IndexedSlices], list[tf.Tensor]]:
        """The gradients of tables and dense weights where the objectives' weights follow from their own gradients.

        Those are added up over replicas before they are looked at, so that any number of replicas balances alike.
        """
        replica = tf.distribute.get_replica_context()
        each = [tape.gradient(loss, self._weights) for loss in losses]
        reached = [sum(own[i] is not None for own in each) for i in range(len(self._weights))]
        chosen = self._compared(reached)
        shared = [[tf.zeros_like(self._weights[i]) if own[i] is None else own[i] for i in chosen] for own in each]
        weights = self.weighting.balance(replica.all_reduce(SUM, shared), replica.all_reduce(SUM, tf.stack(losses)))
        alone = tf.ones_like(weights) if self.weighting.for_shared_alone else weights
        tables = tape.gradient(losses, self.model.tables, output_gradients=tf.unstack(alone))
        penalties = tape.gradient(penalty, self._weights)
        gradients = []
        for i, own in enumerate(zip(*each, strict=True)):
            factors = tf.unstack(weights if reached[i] > 1 else alone)
            parts = [w * g for w, g in zip(factors, own, strict=True) if g is not None]
            gradients.append(tf.add_n([*parts, *([] if penalties[i] is None else [penalties[i]])]))
        return tables, gradients

    def _compared(self, reached: list[int]) -> list[int]:
        """Which dense weights' gradients the weighting looks at."""
        if self.weighting.of_last_layer:
            last = {w.path for w in self.model.last_shared}
            return [i for i, w in enumerate(self.model.weights) if w.path in last]
        return [i for i, objectives in enumerate(reached) if objectives > 1]

    def _slice(self, batch: dict[str, tf.Tensor], replica: tf.distribute.ReplicaContext) -> dict[str, tf.Tensor]:
        size = tf.shape(batch["ids"])[0] // replica.num_replicas_in_sync
        start = replica.replica_id_in_sync_group * size
        return {name: tensor[start : start + size] for name, tensor in batch.items()}
