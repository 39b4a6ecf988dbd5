"""From gradients to updates: clipping, loss scaling, and the optimizers of tables and of dense
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from model.optimizers import RULES
from model.optimizers.dense import make_optimizer, optimizer_state
from model.optimizers.loss_scale import LossScale, all_finite
from model.optimizers.schedules import factor
from model.optimizers.tables import RowGradients, TableOptimizer
from model.ranking import RankingModel
from model.training.collectives import SUM
from model.training.config import TrainConfig


class Updates(tf.Module):
    """The optimizers of one replica, and what happens to gradients before they see them.

    Args:
        config: rates, optimizers and clipping.
        model: its tables and dense weights are trained.
        trained: further variables that the dense optimizer trains, those of the weighting.
        step: the number of steps taken.
        replicas: how many there are.
        float16: whether matrix products are float16, so that losses must be scaled.
        xla: compiles the update of the dense weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: RankingModel,
        trained: Sequence[keras.Variable],
        *,
        step: tf.Variable,
        replicas: int,
        float16: bool,
        xla: bool,
    ) -> None:
        super().__init__()
        self.config, self.step, self.replicas = config, step, replicas
        self.dense_variables: list[keras.Variable] = [*model.weights, *trained]
        self.optimizer = make_optimizer(config.optimizer)
        self.optimizer.learning_rate = _Rate(self.dense_rate)
        self.optimizer.build(self.dense_variables)
        self.table_names = list(model.named_tables)
        self.table_optimizer = _table_optimizer(config, model)
        self.loss_scale = LossScale() if float16 else None
        self._apply = (
            tf.function(self._apply_dense, jit_compile=True, autograph=False)
            if xla
            else self._apply_dense
        )

    @property
    def state(self) -> dict[str, tf.Variable]:
        """The variables of the optimizers and of loss scaling, by the names of a checkpoint."""
        slots = {
            f"slots/{table}/{name}": variable
            for table, own in zip(self.table_names, self.table_optimizer.slots, strict=True)
            for name, variable in own.items()
        }
        scale = self.loss_scale.state if self.loss_scale else {}
        optimizer = {f"optimizer/{name}": v for name, v in optimizer_state(self.optimizer).items()}
        return slots | scale | optimizer

    def _factor(self) -> tf.Tensor:
        """What the schedule and the number of replicas multiply the learning rates by."""
        scale = self.replicas if self.config.scale_learning_rate == "linear" else 1
        return factor(self.config.schedule, self.step) * scale

    def dense_rate(self) -> tf.Tensor:
        return self._factor() * self.config.learning_rate

    def table_rate(self) -> tf.Tensor:
        return self._factor() * self.config.embedding_learning_rate

    def apply(
        self, tables: list[RowGradients], gradients: list[tf.Tensor], own: list[tf.Tensor]
    ) -> tf.Tensor:
        """Clips and applies the gradients of a step.

        Args:
            tables: of each table, summed over replicas.
            gradients: of the model's dense weights, this replica's share.
            own: of the weighting's variables, this replica's share.

        Returns:
            1 where this replica's gradients are not finite, else 0. float16 skips such steps, and
            reports them only once its scale is at its minimum.
        """
        replica = tf.distribute.get_replica_context()
        final = self.loss_scale.at_minimum if self.loss_scale else tf.constant(True)
        factor, finite = self._clip(tables, [*gradients, *own], replica)
        if factor is not None:
            tables = [RowGradients(rows, sums * factor) for rows, sums in tables]
            gradients, own = [g * factor for g in gradients], [g * factor for g in own]
        number = tf.cast(self.optimizer.iterations + 1, tf.float32)
        self.table_optimizer.apply(tables, self.table_rate(), number, keep=finite)
        self._apply([*gradients, *own], finite)
        bad = final & ~(all_finite(gradients) if finite is None else finite)
        return tf.cast(bad, tf.float32)

    def _clip(
        self,
        tables: list[RowGradients],
        dense: list[tf.Tensor],
        replica: tf.distribute.ReplicaContext,
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """(the factor that brings the norm of all gradients down to clip_norm, whether all are
        finite); None for what the configuration does not need.
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
        """Keras' optimizer adds up the replicas' gradients itself. Where they are not `finite` its
        update is undone.
        """
        variables = []
        if finite is not None:
            variables = [v.value for v in [*self.dense_variables, *self.optimizer.variables]]
        before = [tf.identity(v) for v in variables]
        self.optimizer.apply(gradients, self.dense_variables)
        for variable, value in zip(variables, before, strict=True):
            tf.raw_ops.AssignVariableOp(
                resource=variable.handle, value=tf.where(finite, variable.read_value(), value)
            )


def _table_optimizer(config: TrainConfig, model: RankingModel) -> TableOptimizer:
    common = config.embedding_learning_rate
    wide = config.wide_learning_rate / common
    options = config.features.items()
    return TableOptimizer(
        RULES[config.embedding_optimizer.name](config.embedding_optimizer),
        model.tables,
        batch_size=config.batch_size or 1,
        table_rates=[wide if name.startswith("wide/") else 1.0 for name in model.named_tables],
        learning_rates={
            name: o.learning_rate / common for name, o in options if o.learning_rate is not None
        },
        l2={name: o.l2 for name, o in options if o.l2},
    )


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at the trainer's own step: the optimizer's count of updates may come from
    an earlier run.
    """

    def __init__(self, rate: Callable[[], tf.Tensor]) -> None:
        super().__init__()
        self._rate = rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._rate()
