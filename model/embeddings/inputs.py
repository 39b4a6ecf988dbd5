"""A batch before and after its embeddings are looked up, and the pooling of lists."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Columns(NamedTuple):
    """A batch before its embeddings are looked up.

    Args:
        rows: [B, E], by slot the row within its feature's range.
        numbers: [B, N], normalized.
        weights: [B, slots] of each weighted list.
    """

    rows: tf.Tensor
    numbers: tf.Tensor
    weights: dict[str, tf.Tensor]


class History(NamedTuple):
    """A sequence's embeddings [B, T, dim] in order of time, and which steps are present [B, T]."""

    values: tf.Tensor
    present: tf.Tensor


class Inputs(NamedTuple):
    """What a sharing reads.

    Args:
        flat: [B, W], all embeddings and numbers side by side.
        fields: each feature's embedding [B, dim], by name.
        sequences: the sequence features before pooling, by name.
    """

    flat: tf.Tensor
    fields: dict[str, tf.Tensor]
    sequences: dict[str, History]

    def fields_by_dim(self) -> list[tf.Tensor]:
        """[B, fields, dim] for each dimension that several fields have."""
        dims = sorted({field.shape[-1] for field in self.fields.values()})
        groups = [
            [field for field in self.fields.values() if field.shape[-1] == dim] for dim in dims
        ]
        return [tf.stack(group, 1) for group in groups if len(group) > 1]

    def side_by_side(self, names: list[str]) -> History:
        """The named sequences (default: all) concatenated step by step. A step is present where it
        is in one of them.
        """
        chosen = [self.sequences[name] for name in names or self.sequences]
        present = tf.reduce_any(tf.stack([history.present for history in chosen]), 0)
        return History(tf.concat([history.values for history in chosen], 2), present)


def pool(
    embedded: tf.Tensor, ids: tf.Tensor, pooling: str, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Pools a list over its ids that are not 0: [B, L, dim] → [B, dim].

    Args:
        embedded: e, [B, L, dim].
        ids: [B, L].
        pooling: "sum" Σ w·e, "mean" Σ w·e / Σ w, or "max", the largest w·e of each dimension.
        weights: w, [B, L]; 1 if not given.

    Returns:
        Zeros where the list is empty.
    """
    present = tf.cast(ids > 0, embedded.dtype)
    share = (present if weights is None else present * weights)[:, :, tf.newaxis]
    if pooling == "max":
        weighted = tf.where(present[:, :, tf.newaxis] > 0, embedded * share, embedded.dtype.min)
        return tf.reduce_max(weighted, 1) * tf.reduce_max(present, 1)[:, tf.newaxis]
    total = tf.reduce_sum(embedded * share, 1)
    return total if pooling == "sum" else tf.math.divide_no_nan(total, tf.reduce_sum(share, 1))
