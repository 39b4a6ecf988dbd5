"""Initial values of embedding tables, which can be computed again to find untouched rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

RANGE = 0.05  # rows are initialized uniformly in ±RANGE
PHILOX = tf.random.Algorithm.PHILOX.value
BLOCK = 1 << 18  # rows at a time; a multiple of 4, the numbers of one count of Philox


def init_uniform(table: tf.Variable, seed: list[int], block: int = BLOCK) -> None:
    """Fills each replica's copy with tf.random.stateless_uniform in ±RANGE, block by block."""
    for begin, values in _uniform_blocks(table.shape, seed, block):
        rows = tf.range(begin, begin + len(values))
        for copy in tf.distribute.get_strategy().experimental_local_results(table):
            copy.scatter_update(tf.IndexedSlices(values, rows))


def unchanged(table: tf.Variable, seed: list[int], block: int = BLOCK) -> np.ndarray:
    """Which rows [rows] still have the values that `init_uniform` gave them."""
    found = np.empty(table.shape[0], bool)
    for begin, values in _uniform_blocks(table.shape, seed, block):
        end = begin + len(values)
        now = tf.gather(table, tf.range(begin, end))  # a slice would first copy the whole table
        found[begin:end] = tf.reduce_all(now == values, 1)
    return found


def _uniform_blocks(
    shape: tf.TensorShape, seed: list[int], block: int
) -> Iterator[tuple[int, tf.Tensor]]:
    """(first row, values [block, dim]) of each block of rows: the temporaries of all rows at once
    would take twice the memory of the table.
    """
    rows, dim = shape
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    for begin in range(0, rows, block):
        size = [min(block, rows - begin), dim]
        at = counter + tf.constant([begin * dim // 4, 0], tf.uint64)
        unit = tf.raw_ops.StatelessRandomUniformV2(shape=size, key=key, counter=at, alg=PHILOX)
        yield begin, unit * (2 * RANGE) - RANGE
