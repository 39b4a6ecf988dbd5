"""Every sharing with every funnel through the whole network, and what each funnel trains."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from model_data import LABELS, TASKS, make_model, make_spec, make_train, write_data

from features.errors import FunnelError
from features.fitted import Fitted
from model.funnels import FUNNELS
from model.input import Data
from model.ranking import RankingModel
from model.sharing import SHARING
from model.trainer import Trainer, make_strategy

PAIRS = list(itertools.product(SHARING, FUNNELS))
SPEC = make_spec()
CHAIN = make_spec(
    labels=LABELS | {"return": {"event": "returns", "within": "7d", "after": "convert"}},
    tasks=TASKS | {"ret": {"label": "return", "given": "convert"}},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Data(write_data(tmp_path_factory.mktemp("funnels"), train=600), SPEC)


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def trainer(request, data):
    return make_trainer(data, *request.param)


def make_trainer(data, sharing, funnel):
    settings = make_train(batch_size=100, learning_rate=0.02, embedding_learning_rate=0.3)
    return Trainer(SPEC, make_model(sharing, funnel), settings, data.fitted, make_strategy(None))


def rows(data, size=100):
    return next(iter(data.train(size, 50, 1)))


def test_outputs(trainer, data):
    batch = rows(data)
    scores = {name: p.numpy() for name, p in trainer.model.scores(batch["ids"], batch["dense"]).items()}
    assert set(scores) == {"p_ctr", "p_cvr", "p_ctcvr"}
    for p in scores.values():
        assert p.shape == (100,)
        assert ((p > 0) & (p < 1)).all()
        assert len(set(p.tolist())) > 10  # it reads its input
    np.testing.assert_allclose(scores["p_ctcvr"], scores["p_ctr"] * scores["p_cvr"], rtol=1e-6)


def test_names_of_the_state_are_unique_and_complete(trainer):
    model = trainer.model
    assert len(model.state) == len(model.tables) + len(model.weights)
    assert len(trainer.state) == len(model.state) + len(model.tables) + len(trainer.optimizer.variables)


def test_every_weight_and_table_gets_a_gradient(trainer, data):
    _, tables, dense = trainer.strategy.run(trainer.gradients, args=(rows(data, 600),))
    assert all(isinstance(g, tf.IndexedSlices) for g in tables)
    gradients = [*zip(trainer.model.tables, tables, strict=True), *zip(trainer.model.weights, dense, strict=True)]
    assert [v.name for v, g in gradients if g is None or not np.any(tf.convert_to_tensor(g))] == []


def test_a_saved_state_gives_equal_scores(trainer, data, tmp_path):
    config = make_model(trainer.model.sharings[0].params.name, trainer.model.funnel.params.name)
    again, batch = RankingModel(SPEC, config, data.fitted, seed=9), rows(data)
    scores = [{n: p.numpy() for n, p in m.scores(batch["ids"], batch["dense"]).items()} for m in (trainer.model, again)]
    assert (scores[0]["p_ctr"] != scores[1]["p_ctr"]).any()
    path = tf.train.Checkpoint(**holders(trainer.model)).write(str(tmp_path / "state"))
    tf.train.Checkpoint(**holders(again)).read(path).assert_consumed()
    for name, p in again.scores(batch["ids"], batch["dense"]).items():
        np.testing.assert_array_equal(p, scores[0][name])


def holders(model):
    return {name.replace("/", "|"): variable for name, variable in model.state.items()}


@pytest.mark.parametrize("pair", [pytest.param(p, marks=() if p == ("mmoe", "esmm") else pytest.mark.slow) for p in PAIRS], ids="-".join)
def test_the_loss_falls(pair, data):
    # Labels follow users, items and tags.
    trainer = make_trainer(data, *pair)
    batches = iter(data.train(100, 200, 1))
    first = trainer.steps(batches, tf.constant(1, tf.int64))
    trainer.steps(batches, tf.constant(119, tf.int64))
    last = trainer.steps(batches, tf.constant(10, tf.int64))
    for name in first:
        assert last[name] < 0.65 * first[name], f"{name}: {first[name]:.3f} to {last[name]:.3f}"


def test_objectives_on_paper():
    half = {name: tf.zeros([4, 1]) for name in ("ctr", "cvr")}
    # p_ctr = p_cvr = 1/2. Rows: no click; click alone; click and conversion; click whose conversion is unknown.
    labels = {"click": tf.constant([0, 1, 1, 1], tf.int64), "convert": tf.constant([0, 0, 1, -1], tf.int64)}
    found = {}
    for name in FUNNELS:
        funnel = FUNNELS[name](FUNNELS[name].Params.parse({"name": name, "tower_units": []}), SPEC)
        found[name] = {o.name: tuple(map(float, o.sums())) for o in funnel.objectives(funnel(half), labels)}
    ln = np.log
    assert found["independent"] == {"ctr": pytest.approx((4 * ln(2), 4)), "cvr": pytest.approx((2 * ln(2), 2))}
    # p_ctcvr = 1/4 on the three rows where it is known: labels 0, 0, 1
    assert found["esmm"] == {"ctr": pytest.approx((4 * ln(2), 4)), "ctcvr": pytest.approx((2 * ln(4 / 3) + ln(4), 3))}


@pytest.mark.parametrize("funnel", FUNNELS)
def test_a_chain_of_three(funnel):
    model = RankingModel(CHAIN, make_model("mmoe", funnel), Fitted(moments=dict.fromkeys(CHAIN.numeric, (0.0, 1.0))), seed=1)
    ids = tf.constant(np.random.default_rng(0).integers(0, 20, [8, CHAIN.ids_width]))
    p = {name: score.numpy() for name, score in model.scores(ids, tf.ones([8, CHAIN.dense_width])).items()}
    assert set(p) == {"p_ctr", "p_cvr", "p_ctcvr", "p_ret", "p_cvr_ret"}
    np.testing.assert_allclose(p["p_cvr_ret"], p["p_ctr"] * p["p_cvr"] * p["p_ret"], rtol=1e-5)


def test_esmm_without_a_chain_is_refused():
    spec = make_spec(tasks={"ctr": {"label": "click"}, "cvr": {"label": "convert"}})
    with pytest.raises(
        FunnelError, match=r"model\.funnel = 'esmm' needs a chain of tasks, but none of ctr, cvr has `given`.*'independent'"
    ):
        RankingModel(spec, make_model("mmoe", "esmm"), {}, seed=1)


def test_an_unknown_funnel_is_refused_with_the_nearest():
    with pytest.raises(FunnelError, match=r"name = 'esm' is not an architecture: did you mean 'esmm'\?"):
        make_model("mmoe", "esm")


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(FunnelError, match=r"funnel.*unknown key 'tower_unit': did you mean 'tower_units'\?"):
        FUNNELS["esmm"].Params.parse({"name": "esmm", "tower_unit": [4]}, "model.funnel")
