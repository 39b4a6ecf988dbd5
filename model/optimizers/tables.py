"""Updates embedding tables by a rule, a batch's rows at a time. (Keras' optimizers work on whole
tables: keras#19992.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.embeddings.tables import Table
from model.optimizers.base import Rule


class RowGradients(NamedTuple):
    """The rows of a table that a batch read, each once [n], and the sums of their gradients [n,
    dim].
    """

    rows: tf.Tensor
    sums: tf.Tensor


def add_up(gradients: tf.IndexedSlices) -> RowGradients:
    """Sums the gradients of a row's occurrences."""
    rows, segments = tf.unique(gradients.indices)
    sums = tf.math.unsorted_segment_sum(gradients.values, segments, tf.size(rows))
    return RowGradients(rows, sums)


class TableOptimizer(tf.Module):
    """Gathers a batch's rows with their slots, applies a rule, and writes them back: time and
    memory follow the batch.

    Args:
        rule: computes the updates.
        tables: what it updates.
        batch_size: B; gradients are of the mean over B rows, and a rule that takes sums gets them
            multiplied by B.
        table_rates: by table; they multiply the common learning rate.
        learning_rates: by feature; they multiply it too.
        l2: λ by feature; adds 2·λ·w to the gradient of each row that a batch reads.
    """

    def __init__(
        self,
        rule: Rule,
        tables: Sequence[Table],
        *,
        batch_size: int = 1,
        table_rates: Sequence[float] = (),
        learning_rates: Mapping[str, float] | None = None,
        l2: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.rule, self.tables = rule, list(tables)
        self.scale = float(batch_size) if rule.sums else 1.0
        self.table_rates = list(table_rates) or [1.0] * len(self.tables)
        self.learning_rates, self.l2 = dict(learning_rates or {}), dict(l2 or {})
        self.slots = [self._make_slots(table) for table in self.tables]

    def _make_slots(self, table: Table) -> dict[str, tf.Variable]:
        rows, dim = table.variable.shape
        return {
            name: tf.Variable(tf.fill([rows, width], initial), trainable=False, name=name)
            for name, (width, initial) in self.rule.slots(dim).items()
        }

    def apply(
        self,
        gradients: Sequence[RowGradients],
        rate: tf.Tensor,
        step: tf.Tensor,
        keep: tf.Tensor | None = None,
    ) -> None:
        """Updates this replica's copy of each table.

        Args:
            gradients: of each table, summed over all replicas.
            rate: the common learning rate.
            step: counts from 1.
            keep: where false, nothing is updated.
        """
        each = zip(self.tables, self.slots, self.table_rates, gradients, strict=True)
        for table, slots, table_rate, (rows, sums) in each:
            variables = [table.variable, *slots.values()]
            w, *old = (tf.gather(v, rows) for v in variables)
            g, own_rate = sums * self.scale if self.scale != 1 else sums, rate * table_rate
            if self._names(self.l2, table):
                g += 2 * self._by_feature(self.l2, table, rows, 0.0) * w
            if self._names(self.learning_rates, table):
                own_rate *= self._by_feature(self.learning_rates, table, rows, 1.0)
            moved, new = self.rule(w, tuple(old), g, own_rate, step)
            for variable, before, after in zip(variables, [w, *old], [moved, *new], strict=True):
                after = after if keep is None else tf.where(keep, after, before)
                # Copies rows as they are: ten times as fast as scattering a difference, or as the
                # fused sparse kernels.
                tf.raw_ops.ResourceScatterUpdate(
                    resource=variable.handle, indices=rows, updates=after
                )

    def _names(self, by_feature: Mapping[str, float], table: Table) -> bool:
        return any(feature in by_feature for feature in table.row_offsets)

    def _by_feature(
        self, given: Mapping[str, float], table: Table, rows: tf.Tensor, default: float
    ) -> tf.Tensor:
        """The value given for the feature that owns each row, [n, 1]."""
        begins = tf.constant(list(table.row_offsets.values()), tf.int64)
        owner = tf.searchsorted(begins, rows, side="right") - 1
        return tf.gather(
            tf.constant([given.get(feature, default) for feature in table.row_offsets]), owner
        )[:, tf.newaxis]
