"""Rejects out-of-range ids in the input pipeline; tf.gather on a GPU silently returns zeros for
them.
"""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

from features.fitted import Fitted
from features.spec import Spec

# Finds the message in what tf.data reports.
BAD_ID = re.compile(r"features\.[^\]]*? has the id -?\d+.*?preprocess again")
LARGEST = np.iinfo(np.int64).max


def checked(batches: tf.data.Dataset, spec: Spec, fitted: Fitted) -> tf.data.Dataset:
    """The same batches; reading them fails at the first id outside its feature's table.

    Ids of features with a vocabulary are looked up there, so they may have any value.
    """
    names, limits = [], []
    for name, slots in spec.id_slots.items():
        known = fitted.vocabulary_of(spec, name) is None
        names += [name] * slots.length
        limits += [fitted.table_rows(spec, name) if known else LARGEST] * slots.length
    if not names:
        return batches
    texts, rows = tf.constant(names), tf.constant(limits, tf.int64)

    def check(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        bad = (batch["ids"] < 0) | (batch["ids"] >= rows)
        with tf.control_dependencies(
            [tf.debugging.Assert(~tf.reduce_any(bad), [_message(batch["ids"], bad, texts, rows)])]
        ):
            return batch | {"ids": tf.identity(batch["ids"])}

    return batches.map(check, num_parallel_calls=1)


def _message(ids: tf.Tensor, bad: tf.Tensor, names: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The message for the first bad id."""
    row, slot = tf.unstack(tf.concat([tf.where(bad), tf.zeros([1, 2], tf.int64)], 0)[0])
    value, limit = (
        tf.as_string(ids[row, slot]) if ids.shape[0] != 0 else "",
        tf.as_string(rows[slot]),
    )
    return tf.strings.join(
        [
            "features.",
            names[slot],
            " has the id ",
            value,
            ", its table the rows 0 … ",
            limit,
            " − 1: made with another spec; preprocess again",
        ]
    )
