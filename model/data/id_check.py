"""Ids beside their tables, found where batches are made: on GPUs TensorFlow would read zeros for
them and say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec

SAID = re.compile(r"features\.[^\]]*? has the id -?\d+.*?preprocess again")
LARGEST = np.iinfo(np.int64).max


def checked(batches: tf.data.Dataset, spec: Spec, fitted: Fitted) -> tf.data.Dataset:
    """The same batches, refused at the first id outside its feature's table. Values of vocabularies
    are looked up: any will do.
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
            [tf.debugging.Assert(~tf.reduce_any(bad), [_said(batch["ids"], bad, texts, rows)])]
        ):
            return batch | {"ids": tf.identity(batch["ids"])}

    return batches.map(check, num_parallel_calls=1)


def _said(ids: tf.Tensor, bad: tf.Tensor, names: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """What is wrong with the first bad id; "" where there is none."""
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


@contextmanager
def explained() -> Iterator[None]:
    """Turns what tf.data says of bad ids and of damaged files into a FunnelError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        said = SAID.search(error.message)
        if said is None:
            raise
        raise FunnelError(said.group()) from None
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise FunnelError(
            f"the input cannot be read: {error.message.splitlines()[0]}; preprocess again, or copy the files whole"
        ) from None
