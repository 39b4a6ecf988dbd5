"""Sparse Adagrad on paper: a ← a + g², row ← row − rate · g / (√a + ε), for the rows of a batch alone."""

import numpy as np
import pytest
import tensorflow as tf

from model.optimizers import SparseAdagrad


def step(optimizer: SparseAdagrad, table: tf.Variable, values: list, rows: list) -> None:
    gradient = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows, tf.int64), tf.constant(table.shape, tf.int64))
    strategy = tf.distribute.get_strategy()

    @tf.function
    def apply() -> None:
        strategy.run(lambda: tf.distribute.get_replica_context().merge_call(optimizer.apply, args=([gradient], [table])))

    apply()


def test_one_row_on_paper():
    table = tf.Variable([[0.0], [5.0]])
    optimizer = SparseAdagrad(0.5, [table])
    step(optimizer, table, [[3.0]], [1])
    # a = 0.1 + 9 = 9.1; row = 5 − 0.5·3 / √9.1 = 4.502755
    np.testing.assert_allclose(optimizer.accumulators[0], [[0.1], [9.1]], rtol=1e-6)
    np.testing.assert_allclose(table, [[0.0], [4.502755]], atol=1e-6)


def test_an_id_that_occurs_twice_is_summed_before_it_is_squared():
    table = tf.Variable([[1.0], [1.0], [1.0]])
    optimizer = SparseAdagrad(1.0, [table])
    step(optimizer, table, [[1.0], [4.0], [2.0]], [2, 0, 2])
    # row 2: g = 1 + 2 = 3, a = 0.1 + 3² = 9.1, not 0.1 + 1² + 2² = 5.1; row 0: g = 4, a = 16.1
    np.testing.assert_allclose(optimizer.accumulators[0], [[16.1], [0.1], [9.1]], rtol=1e-6)
    np.testing.assert_allclose(table, [[1 - 4 / 16.1**0.5], [1.0], [1 - 3 / 9.1**0.5]], atol=1e-6)


def test_the_second_step_remembers_the_first():
    table = tf.Variable([[0.0]])
    optimizer = SparseAdagrad(1.0, [table])
    for _ in range(2):
        step(optimizer, table, [[2.0]], [0])
    assert table.numpy()[0, 0] == pytest.approx(-2 / 4.1**0.5 - 2 / 8.1**0.5, rel=1e-6)  # a = 0.1 + 4, then 4.1 + 4


def test_other_rows_keep_every_bit():
    start = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    table = tf.Variable(start)
    optimizer = SparseAdagrad(0.1, [table])
    step(optimizer, table, np.ones([3, 3]).tolist(), [7, 99, 7])
    others = np.setdiff1d(np.arange(100), [7, 99])
    assert table.numpy()[others].tobytes() == start[others].tobytes()
    assert (table.numpy()[[7, 99]] != start[[7, 99]]).all()
    assert (optimizer.accumulators[0].numpy()[others] == np.float32(0.1)).all()
