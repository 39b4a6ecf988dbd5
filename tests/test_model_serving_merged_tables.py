"""The tables of an export, merged: on paper, and for every kind of feature."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import EVERY_KIND, make_model, make_spec

from features.fitted import Fitted
from model.ranking import RankingModel
from model.serving.merged_tables import MergedTables

SHARED = {
    "user": {"kind": "categorical", "buckets": 2, "dim": 1},
    "item": {"kind": "categorical", "buckets": 3, "dim": 1},
    "recent": {"kind": "sequence", "max_length": 2, "shares": "item"},
}


def make(features: dict, sharing: str, wide: bool = True) -> RankingModel:
    """Its tables hold random numbers, those of the wide part too."""
    spec = make_spec(features=features)
    fitted = Fitted(
        moments=dict.fromkeys(spec.numeric, (0.0, 1.0)),
        ranges=dict.fromkeys(spec.numeric, (0.0, 60.0)),
        boundaries={"price_place": [5.0, 9.0]},
        vocabularies={"user": [11, 22]} if "min_count" in features["user"] else {},
    )
    config = make_model(sharing).model_copy(update={"wide": wide})
    model = RankingModel(spec, config, fitted, seed=1)
    for table in model.tables:
        table.variable.assign(tf.random.normal(table.variable.shape))
    return model


def test_embeddings_and_wide_part_side_by_side_and_the_rows_of_one_that_shares_beside_them():
    model = make(SHARED, "shared_bottom")
    model.embeddings[0].tables["1"].variable.assign([[1.0], [2.0], [3.0], [4.0], [5.0]])
    # users 0 … 1, items 2 … 4, then the rows of `recent`
    model.wide.tables["1"].variable.assign([[10.0 * r, -r] for r in range(1, 9)])
    merged = MergedTables(model)
    assert merged.tables["1"].numpy().tolist() == [
        [1, 10, -1],
        [2, 20, -2],
        [3, 30, -3],
        [4, 40, -4],
        [5, 50, -5],
    ]
    assert merged.shared["1"].numpy().tolist() == [[60, -6], [70, -7], [80, -8]]
    # user 1, item 2, and a history of the items 1 and 0
    ids = [tf.constant([[1, 4, 3, 2]], tf.int64), tf.constant([[1, 4, 6, 5]], tf.int64)]
    embedded, wide = merged.look_up(ids)
    assert embedded.numpy().tolist() == [[[2], [5], [4], [3]]]
    assert wide.numpy().tolist() == [[[20, -2], [50, -5], [70, -7], [60, -6]]]
    assert sorted(merged.state) == ["tables/1", "wide_shared/1"]


@pytest.mark.parametrize(
    ("sharing", "wide", "tables"),
    [
        ("mmoe", True, {"2": 2 + 2, "4": 4 + 2}),
        ("single_task", True, {"2": 2 * 2 + 2, "4": 2 * 4 + 2}),  # embeddings for each head
        ("single_task", False, {"2": 2 * 2, "4": 2 * 4}),
    ],
)
def test_the_same_rows_as_the_models(sharing, wide, tables):
    model = make(EVERY_KIND, sharing, wide)
    merged = MergedTables(model)
    assert {dim: table.shape[1] for dim, table in merged.tables.items()} == tables
    assert list(merged.shared) == (["2"] if wide else [])  # `recent` shares `tags`
    size = [7, model.spec.ids_width]
    ids = tf.random.uniform(size, maxval=2, dtype=tf.int64)
    row_ids = model.row_ids(model.read(ids, tf.ones([7, model.spec.dense_width])))
    for found, own in zip(merged.look_up(row_ids), model.look_up(row_ids), strict=True):
        np.testing.assert_array_equal(found, own)


def test_a_table_that_is_alone_is_not_copied():
    model = make(SHARED, "shared_bottom", wide=False)
    assert MergedTables(model).tables["1"] is model.embeddings[0].tables["1"].variable
