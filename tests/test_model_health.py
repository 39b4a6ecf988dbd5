"""Zero activations, dead units and untouched rows: networks and tables whose numbers are known on
paper, the texts of warnings, and what an estimator finds.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from model_data import FEATURES, SMALL, make_estimator, make_model, make_spec, write_data
from pairs import COURSES, config_of, spec_of

from features.fitted import Fitted
from model.embeddings.initial_values import init_uniform, unchanged
from model.embeddings.tables import Embeddings
from model.estimator.warm_start import WarmStart
from model.evaluation.health import ActivationSums, network_warnings, sum_units
from model.layers import MLP, CrossExperts, Experts, Gate
from model.layers.network import observed
from model.ranking import RankingModel
from model.sharing import SHARING

SPEC = make_spec()
FITTED = Fitted(moments=dict.fromkeys(SPEC.numeric, (0.0, 1.0)))


def observe(layer, *batches, names=None):
    """What ActivationSums makes of a layer called with batches."""
    sums = ActivationSums(names or {})
    for batch in batches:
        with observed() as activations:
            layer(batch)
        sums.add(tf.nest.map_structure(lambda t: t.numpy(), sum_units(activations)), len(batch))
    return sums.summary()


def experts(**options):
    """Expert 0 gives relu(x), relu(−x); expert 1 relu(x − 9), which is 0 below 9, and the constant
    2.
    """
    layer = Experts(2, [2], name="experts", **options)
    layer(tf.zeros([1, 1]))
    layer.set_weights([np.array([[1.0, -1.0, 1.0, 0.0]]), np.array([0.0, 0.0, -9.0, 2.0])])
    return layer


def test_zeros_and_dead_units_on_paper():
    rows = [tf.constant([[1.0], [2.0], [-3.0]]), tf.constant([[4.0]])]  # the last batch is smaller
    found = observe(experts(), *rows)
    # expert 0: (1, 0), (2, 0), (0, 3), (4, 0), four zeros of eight. Expert 1: (0, 2) four times
    assert found == {
        "experts/expert_0/layer_0": {"zero": 0.5, "dead": 0.0, "units": 2},
        "experts/expert_1/layer_0": {"zero": 0.5, "dead": 1.0, "units": 2},
    }


def test_a_unit_that_wakes_up_in_one_batch_is_not_dead():
    found = observe(experts(), tf.constant([[1.0], [2.0]]), tf.constant([[10.0], [0.0]]))
    # of expert 1's first unit 0, 0, 1, 0; its second is 2 throughout
    assert found["experts/expert_1/layer_0"] == {"zero": 3 / 8, "dead": 0.5, "units": 2}


def test_a_unit_of_another_activation_is_dead_where_it_is_constant():
    found = observe(experts(activation="tanh"), tf.constant([[100.0], [200.0]]))
    # tanh(±100 …) = ±1 in float32: all are constant, and none is 0
    assert found["experts/expert_0/layer_0"] == {"zero": 0.0, "dead": 1.0, "units": 2}


def test_networks_go_by_their_names():
    rows = tf.constant([[1.0], [2.0]])
    found = observe(experts(), rows, names={"experts": ["shared", "ctr"]})
    assert list(found) == ["experts/shared/layer_0", "experts/ctr/layer_0"]
    deep = observe(CrossExperts(2, [2], name="cross"), rows, names={"cross": ["a", "b"]})
    assert list(deep) == ["cross/deep/a/layer_0", "cross/deep/b/layer_0"]
    assert list(observe(MLP([3, 2], name="bottom"), rows)) == ["bottom/layer_0", "bottom/layer_1"]


def test_activations_are_those_before_dropout_and_residuals():
    layer = MLP([1, 1], residual=True, dropout=0.5, name="mlp")
    layer(tf.zeros([1, 1]))
    layer.set_weights([np.array(w, float) for w in ([[1]], [0], [[-1]], [0])])
    with observed() as activations:
        layer(tf.constant([[2.0]]), training=True)
    # relu(2) = 2 and relu(−2) = 0, or relu(−4) where dropout doubled what it left
    found = {layer: h.numpy().tolist() for (_, layer), h in activations.items()}
    assert found == {0: [[[2.0]]], 1: [[[0.0]]]}


def test_a_gates_hidden_layers_are_seen():
    gate = Gate(2, [3], name="gate")
    with observed() as activations:
        gate(tf.ones([4, 2]), tf.ones([4, 2, 1]))
    assert {key: h.shape for key, h in activations.items()} == {("gate/hidden", 0): (4, 1, 3)}


def test_nobody_observes_by_default():
    """What is traced outside of `observed`, before or after it, has the same operations."""

    def operations():
        trace = tf.function(lambda x: layer(x), autograph=False)
        graph = trace.get_concrete_function(tf.TensorSpec([None, 2])).graph
        return [op.type for op in graph.get_operations()]

    layer = Experts(2, [3, 3])
    layer(tf.zeros([1, 2]))
    before = operations()
    with observed() as activations:
        inside = operations()
    assert len(activations) == 2
    assert len(inside) > len(before)
    assert operations() == before


@pytest.mark.parametrize("funnel", ["esmm", *(name for name in COURSES if name != "esmm")])
@pytest.mark.parametrize("sharing", ["ple"])
def test_every_layer_of_a_model_is_seen_once(sharing, funnel):
    assert_seen(sharing, funnel)


@pytest.mark.parametrize("sharing", SHARING)
def test_every_layer_of_a_sharing_is_seen_once(sharing):
    assert_seen(sharing, "esmm")


def assert_seen(sharing, funnel):
    """Each block made of products is observed, its units and names counted."""
    spec = spec_of(funnel)
    model = RankingModel(spec, config_of(sharing, funnel), FITTED, seed=1)
    ids, dense = tf.zeros([2, spec.ids_width], tf.int64), tf.zeros([2, spec.dense_width])
    weights, activations = model.observe(ids, dense)
    assert set(weights) == set(model.gated_experts)
    layers = [layer for part in (*model.sharings, model.funnel) for layer in part._flatten_layers()]
    blocks = [layer for layer in layers if isinstance(layer, MLP | Experts)]
    seen = {(b.path, i): (2, b.networks, u) for b in blocks for i, u in enumerate(b.units)}
    assert {key: tuple(h.shape) for key, h in activations.items()} == seen
    for path, names in model.network_names.items():
        assert {h.shape[1] for (p, _), h in activations.items() if p == path} == {len(names)}


def test_names_of_experts_are_those_of_their_gates():
    model = RankingModel(SPEC, make_model("ple"), FITTED, seed=1)
    assert model.network_names == {
        "sharing_ctr_cvr/level_0/experts": ["ctr_0", "ctr_1", "cvr_0", "cvr_1", "_shared_0"],
        "sharing_ctr_cvr/level_1/experts_ctr": ["ctr_0", "ctr_1"],
        "sharing_ctr_cvr/level_1/experts_cvr": ["cvr_0", "cvr_1"],
        "sharing_ctr_cvr/level_1/experts__shared": ["_shared_0"],
    }


def test_rows_that_changed_are_found_in_every_block():
    table = tf.Variable(tf.zeros([10, 4]))
    init_uniform(table, [3, 1], block=4)
    assert unchanged(table, [3, 1], block=4).all()
    assert unchanged(table, [3, 1], block=8).all()
    table.scatter_nd_add([[0, 3], [5, 0], [9, 1]], [1e-6, 1e-6, 1e-6])  # one number of a row
    assert np.flatnonzero(~unchanged(table, [3, 1], block=4)).tolist() == [0, 5, 9]
    assert not unchanged(table, [4, 1], block=4).any()  # another draw


def test_untouched_rows_by_feature():
    embeddings = Embeddings(SPEC, FITTED, seed=5)
    # dim 4: user 0–39, item 40–69. dim 2: tags 0–19, which lists alone read, user_x_tags 20–79
    wide, narrow = (embeddings.tables[dim].variable for dim in ("4", "2"))
    wide.scatter_nd_update([[0, 0], [41, 2], [69, 3]], [1.0, 1.0, 1.0])
    narrow.scatter_nd_update([[0, 0], [19, 1]], [1.0, 1.0])
    assert embeddings.untouched() == {
        "user": {"rows": 40, "untouched": 39, "share": 39 / 40},
        "item": {"rows": 30, "untouched": 28, "share": 28 / 30},
        "tags": {"rows": 19, "untouched": 18, "share": 18 / 19},  # row 0 does not count
        "user_x_tags": {"rows": 59, "untouched": 59, "share": 1.0},
    }


def test_the_missing_value_counts_where_a_single_feature_shares_the_rows():
    one = {"kind": "categorical", "column": "tag", "shares": "tags"}
    spec = make_spec(features=FEATURES | {"tag": one})
    assert Embeddings(spec, FITTED, seed=5).untouched()["tags"]["rows"] == 20


def test_embeddings_of_a_heads_own_go_by_the_head():
    model = RankingModel(SPEC, make_model("single_task"), FITTED, seed=1)
    names = [
        f"{head}/{name}"
        for head in ("ctr", "cvr")
        for name in ("user", "item", "tags", "user_x_tags")
    ]
    assert list(model.untouched()) == names
    assert {one["share"] for one in model.untouched().values()} == {1.0}


LAYER = "sharing_ctr_cvr/experts/expert_0/layer_0"
REMEDY = "set {0}.normalize = 'layer' or {0}.activation = 'silu', or lower train.learning_rate"


def test_a_layer_of_zeros():
    layers = {LAYER: {"zero": 0.95, "dead": 0.7, "units": 32}}
    assert network_warnings(layers, {}) == [
        f"layer {LAYER}: 0.950 of its activations are 0, more than 0.9: little passes through it; "
        + REMEDY.format("model.sharing")
    ]


def test_a_layer_of_dead_units():
    layers = {"funnel/tower_ctr/layer_0": {"zero": 0.7, "dead": 0.625, "units": 32}}
    assert network_warnings(layers, {}) == [
        "layer funnel/tower_ctr/layer_0: 0.625 of its 32 units are dead, more than 0.5: "
        "they are the same on every row; " + REMEDY.format("model.funnel")
    ]


def test_a_table_that_is_hardly_used():
    embeddings = {"user": {"rows": 1_000_000, "untouched": 950_000, "share": 0.95}}
    assert network_warnings({}, embeddings) == [
        "feature user: training changed only 50,000 of its 1,000,000 rows: the others hold "
        "random numbers; give it fewer buckets, or train on more rows"
    ]


def test_the_limits_themselves_are_allowed():
    layers = {LAYER: {"zero": 0.9, "dead": 0.5, "units": 32}}
    rows = {"rows": 1_000_000, "untouched": 900_000, "share": 0.9}
    small = {"rows": 100_001, "untouched": 100_000, "share": 0.99999}  # costs nothing
    assert network_warnings(layers, {"user": rows, "item": small}) == []


def test_an_estimator_reads_the_eval_split(tmp_path):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path, steps=2)
    estimator.train()
    found = estimator.health()
    assert json.loads((tmp_path / "model/health.json").read_text()) == found
    assert {layer: one["units"] for layer, one in found["layers"].items()} == {
        f"sharing_ctr_cvr/experts/expert_{i}/layer_{layer}": units
        for layer, units in enumerate(SMALL["mmoe"]["expert_units"])
        for i in range(2)
    } | {"funnel/tower_ctr/layer_0": 3, "funnel/tower_cvr/layer_0": 3}
    assert 0 < found["layers"][LAYER]["zero"] < 1
    shares = {name: one["share"] for name, one in found["embeddings"].items()}
    assert (
        28 <= found["embeddings"]["user"]["untouched"] < 35
    )  # of 40; u0 … u10 and the missing one
    assert all(0 < share < 1 for share in shares.values())


@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise_adagrad", "lazy_adam", "ftrl", "sgd"])
def test_every_optimizer_leaves_the_other_rows_alone(tmp_path, optimizer):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path, embedding_optimizer=optimizer, steps=2)
    estimator.train()
    touched = 40 - estimator.load().untouched()["user"]["untouched"]
    assert 5 < touched <= 12  # of u0 … u10 and the missing one, those of 32 rows


def test_rows_of_a_warm_start_are_touched(tmp_path):
    write_data(tmp_path / "old")
    write_data(tmp_path / "new")
    old = make_estimator(tmp_path / "old", steps=1)
    old.train()
    warm_start = WarmStart(tmp_path / "old/model")
    new = make_estimator(tmp_path / "new", steps=1, seed=2, warm_start=warm_start)
    new.train()
    assert {one["untouched"] for one in new.health()["embeddings"].values()} == {0}


def test_the_draw_is_that_of_the_run_not_of_a_changed_configuration(tmp_path):
    write_data(tmp_path)
    make_estimator(tmp_path, steps=1, seed=1).train()
    rows = [make_estimator(tmp_path, steps=1, seed=s).health()["embeddings"] for s in (1, 2)]
    assert rows[0] == rows[1]
