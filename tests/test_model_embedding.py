"""ids → embeddings: whose rows are read, how lists are pooled, where gradients go."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_spec

from features.fitted import Fitted
from model.embeddings.initial_values import init_uniform
from model.embeddings.inputs import Columns, Inputs, pool
from model.embeddings.tables import Embeddings

SPEC = make_spec(
    features={
        "a": {"kind": "categorical", "buckets": 3, "dim": 2},
        "x": {"kind": "numeric"},
        "b": {"kind": "categorical", "buckets": 4, "dim": 1},
        "c": {"kind": "categorical", "buckets": 2, "dim": 2},
        "many": {"kind": "categorical", "buckets": 5, "dim": 2, "max_length": 2},
    }
)
NOTHING = Fitted()


def read(embeddings: Embeddings, rows: list, numbers: tf.Tensor) -> Inputs:
    columns = Columns(tf.constant(rows, tf.int64), numbers, {})
    tables = embeddings.tables.values()
    return embeddings(
        columns,
        [
            tf.gather(t.variable, place)
            for t, place in zip(tables, embeddings.row_ids(columns), strict=True)
        ],
    )


@pytest.fixture
def embeddings():
    """Row r of the table of dimension 2 is (r, 100 + r), of dimension 1 (−r). Ranges: a 0–2, c 3–4,
    many 5–9; b 0–3.
    """
    result = Embeddings(SPEC, NOTHING, seed=1)
    result.tables["2"].variable.assign([[r, 100.0 + r] for r in range(10)])
    result.tables["1"].variable.assign([[-float(r)] for r in range(4)])
    return result


def test_one_table_for_each_dimension():
    assert {
        dim: tuple(t.variable.shape) for dim, t in Embeddings(SPEC, NOTHING, seed=1).tables.items()
    } == {"1": (4, 1), "2": (10, 2)}


def test_every_feature_reads_its_own_rows(embeddings):
    # ids in the order of slots: a, b, c, many, many. All are 1: rows 0 + 1, 1, 3 + 1, and the mean
    # of 5 + 1 twice.
    inputs = read(embeddings, [[1, 1, 1, 1, 1]], tf.constant([[0.5]]))
    assert {name: field.numpy().tolist() for name, field in inputs.fields.items()} == {
        "a": [[1.0, 101.0]],
        "b": [[-1.0]],
        "c": [[4.0, 104.0]],
        "many": [[6.0, 106.0]],
    }
    np.testing.assert_array_equal(inputs.flat, [[1, 101, -1, 4, 104, 6, 106, 0.5]])


@pytest.mark.parametrize(
    ("ids", "mean", "total", "largest"),
    [
        (
            [4, 7, 0],
            [3.0, 30.0],
            [6.0, 60.0],
            [4.0, 40.0],
        ),  # (2 + 4) / 2 and 2 + 4: the third is missing
        ([0, 7, 0], [4.0, 40.0], [4.0, 40.0], [4.0, 40.0]),  # a missing value before a present one
        ([0, 0, 0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_pooling(ids, mean, total, largest):
    embedded = tf.constant([[[2.0, 20.0], [4.0, 40.0], [9.0, 90.0]]])
    np.testing.assert_array_equal(pool(embedded, tf.constant([ids]), "mean"), [mean])
    np.testing.assert_array_equal(pool(embedded, tf.constant([ids]), "sum"), [total])
    np.testing.assert_array_equal(pool(embedded, tf.constant([ids]), "max"), [largest])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("sum", 0.5 * 2 + 3 * 4), ("mean", (0.5 * 2 + 3 * 4) / 3.5), ("max", 3 * 4)],
)
def test_weighted_pooling(pooling, expected):
    weights = tf.constant([[0.5, 3.0, 8.0]])  # the third value is missing, whatever its weight
    embedded, ids = tf.constant([[[2.0], [4.0], [9.0]]]), tf.constant([[5, 6, 0]])
    np.testing.assert_allclose(pool(embedded, ids, pooling, weights), [[expected]], rtol=1e-6)


def test_shared_tables_vocabularies_boundaries_and_products():
    spec = make_spec(
        features={
            "item": {"kind": "categorical", "min_count": 2, "dim": 2},
            "recent": {"kind": "sequence", "max_length": 2, "shares": "item", "pooling": "sum"},
            "age": {"kind": "bucketized", "boundaries": [30.0], "dim": 2},
            "pair": {"kind": "product", "of": ["item", "age"]},
        }
    )
    embeddings = Embeddings(spec, Fitted(vocabularies={"item": [7, 9, 11]}), seed=1)
    table = embeddings.tables["2"].variable
    assert table.shape == (
        3 + 2 + 1 + 2,
        2,
    )  # item: missing, other, three values; age: missing, below 30, from 30
    table.assign([[r, 10.0 * r] for r in range(8)])
    # item row 2; recent rows 2 and 3 of item's range; age row 2 of its own, which begins at 5
    inputs = read(embeddings, [[2, 2, 3, 2]], tf.zeros([1, 0]))
    expected = {"item": [[2, 20]], "recent": [[5, 50]], "age": [[7, 70]], "pair": [[14, 1400]]}
    assert {name: field.numpy().tolist() for name, field in inputs.fields.items()} == expected


def test_gradients_are_slices_row_0_trained_alone_and_masked_in_lists(embeddings):
    table = embeddings.tables["2"].variable
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(read(embeddings, [[0, 0, 1, 0, 3]], tf.zeros([1, 1])).flat)
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    rows = np.zeros([10, 2])
    rows[[0, 4, 8]] = 1  # a's row 0; c's 3 + 1; many's 5 + 3, but not its row 0, which is 5
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), rows)


def test_rows_start_small_and_by_the_seed():
    one, same, other = (
        Embeddings(SPEC, NOTHING, seed=s).tables["2"].variable.numpy() for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
    assert np.abs(one).max() <= 0.05


@pytest.mark.parametrize("block", [4, 8, 100])
def test_rows_are_one_draw_in_blocks_of_any_size(block):
    table = tf.Variable(tf.zeros([19, 3]))
    init_uniform(table, [7, 1], block)
    np.testing.assert_array_equal(table, tf.random.stateless_uniform([19, 3], [7, 1], -0.05, 0.05))


def test_no_embedded_feature_leaves_the_numbers():
    embeddings = Embeddings(make_spec(features={"x": {"kind": "numeric"}}), NOTHING, seed=1)
    inputs = read(embeddings, np.zeros([2, 0]), tf.constant([[1.0], [2.0]]))
    assert inputs.fields == {}
    np.testing.assert_array_equal(inputs.flat, [[1.0], [2.0]])
