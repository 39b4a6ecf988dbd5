"""Updates of the embedding tables that touch only a batch's rows. (Keras optimizers work on whole tables: keras#19992.)"""

from __future__ import annotations

import tensorflow as tf

INITIAL_ACCUMULATOR, EPSILON = 0.1, 1e-7  # Keras' own defaults for Adagrad


class SparseAdagrad(tf.Module):
    """a ← a + g², row ← row − rate · g / (√a + ε), for the rows of a batch, g the sum over a row's occurrences.

    Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011.
    """

    def __init__(self, learning_rate: float, tables: list[tf.Variable]) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.accumulators = [tf.Variable(tf.fill(t.shape, INITIAL_ACCUMULATOR), trainable=False) for t in tables]

    def apply(self, strategy: tf.distribute.Strategy, gradients: list[tf.IndexedSlices], tables: list[tf.Variable]) -> None:
        """Adds the replicas' gradients and updates every replica's copy. To be called in merge_call."""
        pairs = list(zip(gradients, tables, strict=True))
        summed = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs) if pairs else []
        for gradient, table, accumulator in zip(summed, tables, self.accumulators, strict=True):
            strategy.extended.update(table, self._update, args=(accumulator, gradient))

    def _update(self, table: tf.Variable, accumulator: tf.Variable, gradient: tf.IndexedSlices) -> None:
        rows, place = tf.unique(gradient.indices)
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=table.handle,
            accum=accumulator.handle,
            lr=self.learning_rate,
            epsilon=EPSILON,
            grad=tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows)),
            indices=rows,
        )
