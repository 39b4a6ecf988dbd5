"""ids → embeddings. The features of one dimension share a table, each with its own rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from features.fitted import Fitted
from features.kinds.base import Embedding
from features.spec import Spec
from model.embeddings.initial_values import init_uniform, unchanged
from model.embeddings.inputs import Columns, History, Inputs, pool


class Table(NamedTuple):
    """The rows [Σ rows, dim] of all features of one dimension.

    Args:
        variable: the rows.
        row_offsets: the first row of each feature that owns rows.
    """

    variable: tf.Variable
    row_offsets: dict[str, int]


class Embeddings(tf.Module):
    """One variable [Σ rows, dim] and one gather for each dimension. Lists are pooled over their
    present values.

    A feature with `shares` reads its owner's rows. Row 0 of a feature, the missing value, is
    trained where the feature is single-valued and left out where it is a list.
    """

    def __init__(self, spec: Spec, fitted: Fitted, seed: int) -> None:
        super().__init__()
        self.spec, self.seed = spec, seed
        self.tables: dict[str, Table] = {}
        # By table: the columns of Columns.rows that read it, in the features' order, and the offset
        # in the table that is added to each.
        self.slots: dict[str, np.ndarray] = {}
        self.offsets: dict[str, np.ndarray] = {}
        for number, dim in enumerate(sorted({f.dim for f in spec.embedded.values()})):
            members = self.members(dim)
            row_offsets, total = row_ranges(spec, fitted, dim)
            self.slots[str(dim)] = np.concatenate([spec.embedded_slots[n].range for n in members])
            self.offsets[str(dim)] = np.concatenate(
                [np.full(f.slots, row_offsets[spec.owner(n)], np.int64) for n, f in members.items()]
            )
            self.tables[str(dim)] = Table(
                tf.Variable(tf.zeros([total, dim]), name=f"embedding_{dim}"), row_offsets
            )
            init_uniform(self.tables[str(dim)].variable, [seed, number])

    def members(self, dim: int | str) -> dict[str, Embedding]:
        """The features of that dimension."""
        return {name: f for name, f in self.spec.embedded.items() if f.dim == int(dim)}

    def untouched(self) -> dict[str, dict[str, float]]:
        """Counts the rows that no training step has changed.

        Row 0, the missing value, is not counted where only lists read it. Rows copied by a warm
        start count as touched.

        Returns:
            {feature that owns rows: {"rows": how many training can change, "untouched": how many
            of them still have their initial values, "share"}}.
        """
        found = {}
        for number, table in enumerate(self.tables.values()):
            same = unchanged(table.variable, [self.seed, number])
            ends = [*list(table.row_offsets.values())[1:], len(same)]
            for (name, begin), end in zip(table.row_offsets.items(), ends, strict=True):
                own = same[begin + (0 if self._trains_missing(name) else 1) : end]
                count = int(own.sum())
                found[name] = {"rows": len(own), "untouched": count, "share": count / len(own)}
        return {name: found[name] for name in self.spec.embedded if name in found}

    def _trains_missing(self, owner: str) -> bool:
        """Whether a single-valued feature reads the owner's rows: lists leave row 0 out."""
        readers = [f for name, f in self.spec.embedded.items() if self.spec.owner(name) == owner]
        return any(not feature.is_list for feature in readers)

    def row_ids(self, columns: Columns) -> list[tf.Tensor]:
        """The rows that a batch reads of each table, [B, E of its dimension]."""
        return [self.own(columns, dim) + self.offsets[dim] for dim in self.tables]

    def own(self, columns: Columns, dim: str) -> tf.Tensor:
        """The columns of Columns.rows [B, E of this dimension] that read this table."""
        slots, every = self.slots[dim], range(columns.rows.shape[1])
        return (
            columns.rows if np.array_equal(slots, every) else tf.gather(columns.rows, slots, axis=1)
        )

    def __call__(self, columns: Columns, embedded: Sequence[tf.Tensor]) -> Inputs:
        """`embedded`: the rows of each table at its `row_ids`, [B, E, dim]."""
        fields, sequences = {}, {}
        for dim, rows in zip(self.tables, embedded, strict=True):
            members = self.members(dim)
            own = self.own(columns, dim)
            lengths = [f.slots for f in members.values()]
            pieces = zip(
                members.items(), tf.split(own, lengths, 1), tf.split(rows, lengths, 1), strict=True
            )
            for (name, feature), values, piece in pieces:
                fields[name] = (
                    pool(piece, values, feature.pooling, columns.weights.get(name))
                    if feature.is_list
                    else piece[:, 0]
                )
                if feature.in_order:
                    sequences[name] = History(piece, values > 0)
        fields = {name: fields[name] for name in self.spec.embedded}
        combined = {
            name: feature.combine(*(fields[part] for part in feature.combines))
            for name, feature in self.spec.combined.items()
        }
        flat = [
            *self._side_by_side(fields, dict(zip(self.tables, embedded, strict=True))),
            *combined.values(),
            columns.numbers,
        ]
        return Inputs(tf.concat(flat, 1), fields | combined, sequences)

    def _layout(self, name: str) -> tuple[str, bool]:
        """(the table, whether the feature is single)."""
        feature = self.spec.embedded[name]
        return str(feature.dim), not feature.is_list

    def _side_by_side(
        self, fields: dict[str, tf.Tensor], embedded: dict[str, tf.Tensor]
    ) -> list[tf.Tensor]:
        """The fields, [B, width] each. Consecutive single-valued features of one dimension are one
        reshape, without a copy of each.
        """
        found, taken = [], dict.fromkeys(self.tables, 0)
        for (dim, single), run in itertools.groupby(self.spec.embedded, self._layout):
            names = list(run)
            slots, begin = sum(self.spec.embedded[name].slots for name in names), taken[dim]
            taken[dim] += slots
            if single:
                rows = (
                    embedded[dim]
                    if slots == len(self.slots[dim])
                    else embedded[dim][:, begin : begin + slots]
                )
                found.append(tf.reshape(rows, [-1, slots * int(dim)]))
            else:
                found += [fields[name] for name in names]
        return found


def row_ranges(spec: Spec, fitted: Fitted, dim: int) -> tuple[dict[str, int], int]:
    """(the first row of each feature that owns rows in the table of this dimension, the number of
    rows of the table).
    """
    row_offsets: dict[str, int] = {}
    total = 0
    for name, feature in spec.embedded.items():
        if feature.dim == dim and spec.owner(name) == name:
            row_offsets[name], total = total, total + fitted.table_rows(spec, name)
    return row_offsets, total


def flat_columns(spec: Spec) -> list[tuple[str, int]]:
    """(feature, component) of each column of Inputs.flat."""
    dims = {name: f.dim for name, f in spec.embedded.items()} | {
        name: spec.embedded[f.combines[0]].dim for name, f in spec.combined.items()
    }
    return [(name, i) for name, dim in dims.items() for i in range(dim)] + [
        (name, 0) for name in spec.numeric
    ]
