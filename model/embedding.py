"""ids → embeddings: all features of one dimension share one table, each with its own range of rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from features.fitted import Fitted
from features.kinds.base import Embedding
from features.spec import Spec

RANGE = 0.05  # rows start uniform in ±RANGE
PHILOX = tf.random.Algorithm.PHILOX.value
BLOCK = 1 << 18  # rows drawn at a time; a multiple of 4, the numbers of one count of Philox


class History(NamedTuple):
    """A sequence's embeddings [B, T, dim] in the order of time, and which of its steps are present
    [B, T].
    """

    values: tf.Tensor
    present: tf.Tensor


class Inputs(NamedTuple):
    """What a sharing sees: `fields`, each feature's embedding [B, dim] by name; `flat` [B, W], all
    of them and the numbers.

    `sequences` are the sequence features before pooling, by name.
    """

    flat: tf.Tensor
    fields: dict[str, tf.Tensor]
    sequences: dict[str, History]

    def fields_by_dim(self) -> list[tf.Tensor]:
        """The fields that have another of their dimension: [B, fields, dim] for each dimension."""
        dims = sorted({field.shape[-1] for field in self.fields.values()})
        groups = [
            [field for field in self.fields.values() if field.shape[-1] == dim] for dim in dims
        ]
        return [tf.stack(group, 1) for group in groups if len(group) > 1]

    def side_by_side(self, names: list[str]) -> History:
        """The named sequences (default: all) joined step by step; a step is present where one of
        them is.
        """
        chosen = [self.sequences[name] for name in names or self.sequences]
        present = tf.reduce_any(tf.stack([history.present for history in chosen]), 0)
        return History(tf.concat([history.values for history in chosen], 2), present)


class Table(NamedTuple):
    """The rows [Σ rows, dim] of all features of one dimension, and where those of each feature that
    owns some begin.
    """

    variable: tf.Variable
    begins: dict[str, int]


class Columns(NamedTuple):
    """A batch before its embeddings are looked up.

    `rows` [B, E]: by slot the row of its feature's own range; `numbers` [B, N], normalised;
    `weights` [B, slots] of weighted lists.
    """

    rows: tf.Tensor
    numbers: tf.Tensor
    weights: dict[str, tf.Tensor]


class Embeddings(tf.Module):
    """One variable [Σ rows, dim] for each dimension, one gather for each. Lists are pooled over
    their present values.

    A feature that shares another's table reads that one's rows. Row 0 of a feature, the missing
    value, is trained where the feature is single and left out where it is a list.
    """

    def __init__(self, spec: Spec, fitted: Fitted, seed: int) -> None:
        super().__init__()
        self.spec, self.seed = spec, seed
        self.tables: dict[str, Table] = {}
        self.slots: dict[
            str, np.ndarray
        ] = {}  # columns of the rows that read a table, in the features' order
        self.offsets: dict[str, np.ndarray] = {}  # where the rows of each of these columns begin
        for number, dim in enumerate(sorted({f.dim for f in spec.embedded.values()})):
            members = self.members(dim)
            begins, total = row_ranges(spec, fitted, dim)
            self.slots[str(dim)] = np.concatenate([spec.embedded_slots[n].range for n in members])
            self.offsets[str(dim)] = np.concatenate(
                [np.full(f.slots, begins[spec.owner(n)], np.int64) for n, f in members.items()]
            )
            self.tables[str(dim)] = Table(
                tf.Variable(tf.zeros([total, dim]), name=f"embedding_{dim}"), begins
            )
            draw(self.tables[str(dim)].variable, [seed, number])

    def members(self, dim: int | str) -> dict[str, Embedding]:
        """The features of that dimension."""
        return {name: f for name, f in self.spec.embedded.items() if f.dim == int(dim)}

    def untouched(self) -> dict[str, dict[str, float]]:
        """{feature that owns rows: {"rows": how many training can change, "untouched": how many of
        them still equal the initial draw, "share"}}. Row 0, the missing value, does not count where
        only lists read it. Rows copied by a warm start are not the draw, and count as touched.
        """
        found = {}
        for number, table in enumerate(self.tables.values()):
            same = unchanged(table.variable, [self.seed, number])
            ends = [*list(table.begins.values())[1:], len(same)]
            for (name, begin), end in zip(table.begins.items(), ends, strict=True):
                own = same[begin + (0 if self._trains_missing(name) else 1) : end]
                count = int(own.sum())
                found[name] = {"rows": len(own), "untouched": count, "share": count / len(own)}
        return {name: found[name] for name in self.spec.embedded if name in found}

    def _trains_missing(self, owner: str) -> bool:
        """Whether a single feature reads the owner's rows: lists leave row 0 out."""
        readers = [f for name, f in self.spec.embedded.items() if self.spec.owner(name) == owner]
        return any(not feature.is_list for feature in readers)

    def places(self, columns: Columns) -> list[tf.Tensor]:
        """The rows of each table that a batch reads, [B, E of its dimension]."""
        return [self.own(columns, dim) + self.offsets[dim] for dim in self.tables]

    def own(self, columns: Columns, dim: str) -> tf.Tensor:
        """The columns of the rows [B, E of this dimension] that read this table."""
        slots, every = self.slots[dim], range(columns.rows.shape[1])
        return (
            columns.rows if np.array_equal(slots, every) else tf.gather(columns.rows, slots, axis=1)
        )

    def __call__(self, columns: Columns, embedded: list[tf.Tensor]) -> Inputs:
        """`embedded`: what each table has at its `places`, [B, E, dim]."""
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
        """The fields, [B, width] each. Single features of one dimension that follow each other are
        one reshape, and no copy of each.
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


def draw(table: tf.Variable, seed: list[int], block: int = BLOCK) -> None:
    """Fills each replica's copy with what tf.random.stateless_uniform draws for its shape and
    ±RANGE.
    """
    for begin, values in _drawn(table.shape, seed, block):
        rows = tf.range(begin, begin + len(values))
        for copy in tf.distribute.get_strategy().experimental_local_results(table):
            copy.scatter_update(tf.IndexedSlices(values, rows))


def unchanged(table: tf.Variable, seed: list[int], block: int = BLOCK) -> np.ndarray:
    """Which rows [rows] still are what `draw` filled the table with."""
    found = np.empty(table.shape[0], bool)
    for begin, values in _drawn(table.shape, seed, block):
        end = begin + len(values)
        now = tf.gather(table, tf.range(begin, end))  # a slice would first copy the whole table
        found[begin:end] = tf.reduce_all(now == values, 1)
    return found


def _drawn(shape: tf.TensorShape, seed: list[int], block: int) -> Iterator[tuple[int, tf.Tensor]]:
    """(its first row, the numbers [block, dim]) of each block of rows of a draw: the temporaries of
    a whole draw are twice the table.
    """
    rows, dim = shape
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    for begin in range(0, rows, block):
        size = [min(block, rows - begin), dim]
        at = counter + tf.constant([begin * dim // 4, 0], tf.uint64)
        unit = tf.raw_ops.StatelessRandomUniformV2(shape=size, key=key, counter=at, alg=PHILOX)
        yield begin, unit * (2 * RANGE) - RANGE


def row_ranges(spec: Spec, fitted: Fitted, dim: int) -> tuple[dict[str, int], int]:
    """Where the rows of each feature of this dimension that owns some begin in their table, and how
    many rows that has.
    """
    begins, total = {}, 0
    for name, feature in spec.embedded.items():
        if feature.dim == dim and spec.owner(name) == name:
            begins[name], total = total, total + fitted.table_rows(spec, name)
    return begins, total


def flat_columns(spec: Spec) -> list[tuple[str, int]]:
    """What each column of Inputs.flat is: (feature, component)."""
    dims = {name: f.dim for name, f in spec.embedded.items()} | {
        name: spec.embedded[f.combines[0]].dim for name, f in spec.combined.items()
    }
    return [(name, i) for name, dim in dims.items() for i in range(dim)] + [
        (name, 0) for name in spec.numeric
    ]


def pool(
    embedded: tf.Tensor, ids: tf.Tensor, pooling: str, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Over the ids that are not 0, the sum Σ w·e, the mean Σ w·e / Σ w or the largest w·e of each
    dimension; zeros where none is.

    [B, L, dim], [B, L] and weights [B, L] (1 if not given) → [B, dim].
    """
    present = tf.cast(ids > 0, embedded.dtype)
    share = (present if weights is None else present * weights)[:, :, tf.newaxis]
    if pooling == "max":
        weighted = tf.where(present[:, :, tf.newaxis] > 0, embedded * share, embedded.dtype.min)
        return tf.reduce_max(weighted, 1) * tf.reduce_max(present, 1)[:, tf.newaxis]
    total = tf.reduce_sum(embedded * share, 1)
    return total if pooling == "sum" else tf.math.divide_no_nan(total, tf.reduce_sum(share, 1))
