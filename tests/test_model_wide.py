"""The wide part on paper."""

import numpy as np
import tensorflow as tf
from model_data import EVERY_KIND, make_model, make_spec

from features.fitted import Fitted
from model.config import ModelConfig
from model.embeddings.inputs import Columns
from model.embeddings.tables import Embeddings
from model.embeddings.wide import Wide
from model.ranking import RankingModel

FEATURES = {
    "user": {"kind": "categorical", "buckets": 4, "dim": 2},
    "item": {"kind": "categorical", "buckets": 5, "dim": 2},
    "recent": {"kind": "sequence", "max_length": 3, "shares": "item"},
    "price": {"kind": "numeric", "scale": "none"},
}
SPEC = make_spec(features=FEATURES)


def make() -> tuple[Embeddings, Wide]:
    embeddings = Embeddings(SPEC, Fitted(), seed=1)
    return embeddings, Wide(SPEC, Fitted(), embeddings, ["ctr", "cvr"])


def test_a_number_for_each_head_and_id_lists_by_their_mean_numbers_linear():
    embeddings, wide = make()
    # user 0 … 3, item 4 … 8, then the rows of `recent`, 9 … 13; row r says r for ctr and −10·r for
    # cvr
    table = wide.tables["2"].variable
    table.assign([[float(r), -10.0 * r] for r in range(14)])
    rows = tf.constant([[2, 1, 3, 4, 0], [0, 4, 0, 0, 0]], tf.int64)
    columns = Columns(rows, tf.constant([[0.5], [2.0]]), {})
    row_ids = wide.row_ids(embeddings.row_ids(columns))
    assert row_ids[0].numpy().tolist() == [[2, 5, 12, 13, 9], [0, 8, 9, 9, 9]]
    wide(columns, [tf.gather(table, row_ids[0])])  # builds the numbers' kernel
    wide.numbers.set_weights([np.array([[100.0, 7.0]], np.float32)])
    found = wide(columns, [tf.gather(table, row_ids[0])])
    # 2 + 5 + (12 + 13)/2 + 100·0.5; an empty list says nothing: 0 + 8 + 100·2
    np.testing.assert_allclose(found["ctr"], [19.5 + 50, 8 + 200])
    np.testing.assert_allclose(found["cvr"], [-195 + 3.5, -80 + 14])


def test_it_begins_at_zero_and_reads_the_rows_of_the_embeddings():
    embeddings, wide = make()
    assert not wide.tables["2"].variable.numpy().any()
    plain = make_spec(features={name: FEATURES[name] for name in ("user", "item")})
    embeddings = Embeddings(plain, Fitted(), seed=1)
    columns = Columns(tf.constant([[3, 4]], tf.int64), tf.zeros([1, 0]), {})
    row_ids = embeddings.row_ids(columns)
    assert Wide(plain, Fitted(), embeddings, ["ctr"]).row_ids(row_ids)[0] is row_ids[0]


def test_a_model_without_it_scores_as_one_whose_wide_part_is_zero():
    spec = make_spec()
    fitted = Fitted(moments=dict.fromkeys(spec.numeric, (0.0, 1.0)))
    ids, dense = tf.ones([3, spec.ids_width], tf.int64), tf.ones([3, spec.dense_width])
    models = [
        RankingModel(spec, make_model().model_copy(update={"wide": wide}), fitted, seed=1)
        for wide in (True, False)
    ]
    scores = [model.scores(ids, dense) for model in models]
    for name, p in scores[0].items():
        np.testing.assert_array_equal(p, scores[1][name])
    assert [name for name in models[1].state if "wide" in name] == []
    assert sorted(name for name in models[0].state if "wide" in name) == [
        "wide/2",
        "wide/4",
        "wide/kernel",
    ]


def test_every_kind_of_feature_moves_every_heads_logit():
    spec = make_spec(features=EVERY_KIND)
    fitted = Fitted(
        moments=dict.fromkeys(spec.numeric, (0.0, 1.0)),
        ranges=dict.fromkeys(spec.numeric, (0.0, 60.0)),
        boundaries={"price_place": [5.0, 9.0]},
        vocabularies={"user": [11, 22]},
    )
    model = RankingModel(spec, ModelConfig.parse({"wide": True}), fitted, seed=1)
    columns = model.read(tf.ones([1, spec.ids_width], tf.int64), tf.ones([1, spec.dense_width]))
    found = model.look_up(model.row_ids(columns))[-len(model.wide.tables) :]
    with tf.GradientTape() as tape:
        tape.watch([*found, model.wide.numbers.kernel.value])
        z = model.wide(columns, found)["ctr"]
    gradients = tape.gradient(z, [*found, model.wide.numbers.kernel.value])
    assert all((g.numpy()[..., 0] != 0).all() and not g.numpy()[..., 1].any() for g in gradients)
