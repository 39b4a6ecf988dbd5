"""ids → embeddings: all features of one dimension share one table, each with its own range of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from features.declarations import Categorical, Cross
from features.spec import Spec

RANGE = 0.05  # rows start uniform in ±RANGE


class Inputs(NamedTuple):
    """What a sharing sees: `fields`, each feature's embedding [B, dim] by name; `flat` [B, W], all of them and the numbers."""

    flat: tf.Tensor
    fields: dict[str, tf.Tensor]


class Embeddings(tf.Module):
    """One variable [Σ buckets, dim] for each dimension, one gather for each. Lists are pooled over their present values.

    Row 0 of a feature, the missing value, is trained where the feature is single and left out where it is a list.
    """

    def __init__(self, spec: Spec, seed: int) -> None:
        super().__init__()
        self.spec = spec
        self.tables: dict[str, tf.Variable] = {}
        self.slots: dict[str, np.ndarray] = {}  # columns of `ids` that read a table, in the features' order
        self.offsets: dict[str, np.ndarray] = {}  # where the rows of each of these columns begin
        for number, dim in enumerate(sorted({f.dim for f in spec.embedded.values()})):
            members = self._members(dim)
            begins = np.cumsum([0, *(f.buckets for f in members.values())])
            lengths = [f.slots for f in members.values()]
            self.slots[str(dim)] = np.concatenate([np.arange(spec.ids_width)[spec.id_slots[n].slice] for n in members])
            self.offsets[str(dim)] = np.repeat(begins[:-1], lengths).astype(np.int64)
            start = tf.random.stateless_uniform([int(begins[-1]), dim], [seed, number], -RANGE, RANGE)
            self.tables[str(dim)] = tf.Variable(start, name=f"embedding_{dim}")

    def _members(self, dim: int) -> dict[str, Categorical | Cross]:
        return {name: f for name, f in self.spec.embedded.items() if f.dim == dim}

    def __call__(self, ids: tf.Tensor, numbers: tf.Tensor) -> Inputs:
        """ids [B, S] and normalised numbers [B, D] → Inputs."""
        fields = {}
        for dim, table in self.tables.items():
            members = self._members(int(dim))
            own = tf.gather(ids, self.slots[dim], axis=1)  # [B, S of this dimension]
            rows = tf.gather(table, own + self.offsets[dim])  # [B, S, dim]
            lengths = [f.slots for f in members.values()]
            pieces = zip(members.items(), tf.split(own, lengths, 1), tf.split(rows, lengths, 1), strict=True)
            for (name, feature), values, embedded in pieces:
                fields[name] = pool(embedded, values, feature.pooling) if feature.max_length else embedded[:, 0]
        fields = {name: fields[name] for name in self.spec.embedded}
        return Inputs(tf.concat([*fields.values(), numbers], 1), fields)


def pool(embedded: tf.Tensor, ids: tf.Tensor, pooling: str) -> tf.Tensor:
    """Sum or mean over the ids that are not 0; zeros where none is: [B, L, dim], [B, L] → [B, dim]."""
    present = tf.cast(ids > 0, embedded.dtype)[:, :, tf.newaxis]
    total = tf.reduce_sum(embedded * present, 1)
    return total if pooling == "sum" else tf.math.divide_no_nan(total, tf.reduce_sum(present, 1))
