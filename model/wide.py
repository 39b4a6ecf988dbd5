"""The wide part: a linear model of the features, beside the towers."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from features.fitted import Fitted
from features.kinds.base import Embedding
from features.spec import Spec
from model.embedding import Columns, Embeddings, Table, pool, row_ranges


class Wide(tf.Module):
    """wide_head = Σ_f mean over the present values i of f of w_head[f, i] + Σ_n v_head[n]·x_n,
    added to the head's logit.

    One number for each head of the funnel and id, bucket or number, all from 0: Cheng et al., Wide
    & Deep Learning for Recommender Systems, DLRS 2016. w lies in a table [rows, heads] for each
    dimension of embeddings, whose rows are those of the embeddings: a batch reads and updates the
    same. A feature that shares another's embeddings has rows of its own here, after them: what an
    item of a history says is not what the candidate says.
    """

    def __init__(
        self, spec: Spec, fitted: Fitted, embeddings: Embeddings, heads: list[str]
    ) -> None:
        super().__init__()
        self.embeddings, self.heads = embeddings, heads
        self.tables: dict[str, Table] = {}
        self.offsets: dict[str, np.ndarray] = {}  # added to the rows of the embeddings
        for dim in embeddings.tables:
            begins, total = wide_ranges(spec, fitted, int(dim))
            own = [
                np.full(f.slots, begins[n] - begins[spec.owner(n)], np.int64)
                for n, f in embeddings.members(dim).items()
            ]
            self.offsets[dim] = np.concatenate(own)
            self.tables[dim] = Table(
                tf.Variable(tf.zeros([total, len(heads)]), name=f"wide_{dim}"), begins
            )
        options = {"use_bias": False, "kernel_initializer": "zeros", "dtype": "float32"}
        self.numbers = (
            keras.layers.Dense(len(heads), **options, name="wide") if spec.numeric else None
        )

    def places(self, places: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The rows of each table that a batch reads [B, E of its dimension], from those of the
        embeddings.
        """
        return [
            own + o if o.any() else own
            for own, o in zip(places, self.offsets.values(), strict=True)
        ]

    def __call__(self, columns: Columns, found: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """`found`: what each table has at its `places`, [B, E, heads] → {head: [B]}."""
        terms = [self.numbers(columns.numbers)] if self.numbers else []
        for dim, values in zip(self.tables, found, strict=True):
            members, rows = self.embeddings.members(dim), self.embeddings.own(columns, dim)
            terms += _terms(members, values, rows, columns)
        return dict(zip(self.heads, tf.unstack(tf.add_n(terms), axis=1), strict=True))


def wide_ranges(spec: Spec, fitted: Fitted, dim: int) -> tuple[dict[str, int], int]:
    """Where the rows of each feature of this dimension begin in the wide part's table, and how many
    rows that has.
    """
    begins, total = row_ranges(spec, fitted, dim)
    for name, feature in spec.embedded.items():
        if feature.dim == dim and name not in begins:
            begins[name], total = total, total + fitted.table_rows(spec, name)
    return begins, total


def _terms(
    members: dict[str, Embedding], values: tf.Tensor, rows: tf.Tensor, columns: Columns
) -> list[tf.Tensor]:
    """[B, heads] of the single features together, and of each list; values [B, E, heads], rows [B,
    E].
    """
    lengths = [feature.slots for feature in members.values()]
    single = np.repeat([not feature.is_list for feature in members.values()], lengths)
    if single.all():
        return [tf.reduce_sum(values, 1)]
    terms = (
        [tf.reduce_sum(tf.gather(values, np.flatnonzero(single), axis=1), 1)]
        if single.any()
        else []
    )
    pieces = zip(
        members.items(), tf.split(values, lengths, 1), tf.split(rows, lengths, 1), strict=True
    )
    return terms + [
        pool(piece, own, "mean", columns.weights.get(name))
        for (name, f), piece, own in pieces
        if f.is_list
    ]
