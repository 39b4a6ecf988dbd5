"""The tables of a model side by side, so that a server reads a row of all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from model.ranking import RankingModel


class MergedTables:
    """One table for each dimension: [rows, dim for each group of heads + heads of the wide part].

    Tables of one dimension have the same rows and are read at the same ids, so one gather reads
    them all. A feature that shares another's embeddings has rows of its own in the wide part. They
    stay a table of their own, since the embeddings would be there twice. A table that is the only
    one of its dimension stays as it is.
    """

    def __init__(self, model: RankingModel) -> None:
        self.names = list(model.named_tables)
        self.widths: dict[str, dict[str, int]] = {}  # by dimension: those of the tables, by name
        self.tables: dict[str, tf.Variable] = {}  # by dimension
        self.shared: dict[str, tf.Variable] = {}  # by dimension: the wide rows beside these
        self.offsets = model.wide.offsets if model.wide else {}
        for dim in model.embeddings[0].tables:
            tables = {n: t.variable for n, t in model.named_tables.items() if _dim(n) == dim}
            self.widths[dim] = {name: table.shape[1] for name, table in tables.items()}
            first, *others = tables.values()
            rows = first.shape[0]
            self.tables[dim] = (
                _variable(tf.concat([table[:rows] for table in tables.values()], 1), dim)
                if others
                else first
            )
            if others and others[-1].shape[0] > rows:
                self.shared[dim] = _variable(others[-1][rows:], f"{dim}_shared")

    @property
    def state(self) -> dict[str, tf.Variable]:
        """The variables by the names that an export has for them."""
        merged = {f"tables/{dim}": table for dim, table in self.tables.items()}
        return merged | {f"wide_shared/{dim}": table for dim, table in self.shared.items()}

    def look_up(self, row_ids: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """As RankingModel.look_up: the rows [B, E, dim] of each of the model's tables."""
        ids = dict(zip(self.names, row_ids, strict=True))
        found: dict[str, tf.Tensor] = {}
        for dim, widths in self.widths.items():
            rows = tf.gather(self.tables[dim], ids[next(iter(widths))])
            found |= zip(widths, tf.split(rows, list(widths.values()), 2), strict=True)
        for dim in self.shared:
            name = f"wide/{dim}"
            found[name] = self._with_shared(dim, found[name], ids[name])
        return [found[name] for name in self.names]

    def _with_shared(self, dim: str, found: tf.Tensor, row_ids: tf.Tensor) -> tf.Tensor:
        """The wide part's rows [B, E, heads] where the slots of features that share are replaced by
        their own rows.
        """
        slots = np.flatnonzero(self.offsets[dim])
        own = tf.gather(row_ids, slots, axis=1) - self.tables[dim].shape[0]
        order = np.arange(len(self.offsets[dim]))
        order[slots] = len(order) + np.arange(len(slots))
        return tf.gather(tf.concat([found, tf.gather(self.shared[dim], own)], 1), order, axis=1)


def _dim(name: str) -> str:
    """The dimension in a table's name."""
    return name.split("/")[1]


def _variable(values: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(values, trainable=False, name=f"tables_{name}")
