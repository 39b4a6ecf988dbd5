"""What objectives weigh: each way on paper, and through training."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import SMALL, batches, make_estimator, make_spec, make_train, write_data

from features.errors import FunnelError
from model.config import ModelConfig
from model.data.input import Data
from model.sharing import SHARING
from model.training.strategy import make_strategy
from model.training.trainer import Trainer
from model.weighting import WEIGHTING
from model.weighting.pcgrad import surgery

NAMES = ["ctr", "cvr"]
BOTH = tf.constant([True, True])
OPTIONS = {"decay": {"weights": {"ctr": 2.0}, "gamma": {"ctr": 0.99}}, "dwa": {"period": 2}}


def make(name, **options):
    kind = WEIGHTING[name]
    return kind(kind.Params.parse({"name": name, **options}), NAMES)


def weights(weighting):
    return weighting.current().numpy().tolist()


def test_fixed():
    assert weights(make("fixed", weights={"cvr": 2.5})) == [1.0, 2.5]


def test_decay():
    weighting = make("decay", weights={"ctr": 2.0}, gamma={"ctr": 0.5})
    found = [weights(weighting)]
    for _ in range(10):
        weighting.advance(tf.zeros([2]), BOTH)
        found.append(weights(weighting))
    assert found[0] == [2.0, 1.0]
    assert found[1] == [1.0, 1.0]  # 2 · 0.5
    assert found[10] == [2.0 * 0.5**10, 1.0]


def test_uncertainty():
    weighting = make("uncertainty")
    assert weights(weighting) == [1.0, 1.0]
    weighting.log_variances.assign([np.log(4.0), 0.0])
    np.testing.assert_allclose(weights(weighting), [1 / 4, 1.0])  # e^{−ln 4}
    # d/ds (e^{−s}·L + s/2) = ½ − e^{−s}·L: ½ − 3/4, ½ − 2; half of the constant on each of two
    # replicas
    np.testing.assert_allclose(
        weighting.trained_gradients(tf.constant([3.0, 2.0]), BOTH, 1)[0], [-0.25, -1.5]
    )
    np.testing.assert_allclose(
        weighting.trained_gradients(tf.constant([3.0, 2.0]), BOTH, 2)[0], [-0.5, -1.75]
    )


def test_dwa():
    weighting = make("dwa", period=2, temperature=1.0)
    for losses, present in (([4.0, 2.0], BOTH), ([2.0, 0.0], [True, False]), ([1.0, 2.0], BOTH)):
        assert weights(weighting) == [1.0, 1.0]
        weighting.advance(tf.constant(losses), tf.constant(present))
    weighting.advance(tf.constant([2.0, 2.0]), BOTH)
    # Means of the periods over the batches with rows: (3, 2), then (1.5, 2); r = (½, 1);
    # 2·softmax(½, 1)
    np.testing.assert_allclose(
        weights(weighting), 2 * np.exp([0.5, 1.0]) / np.exp([0.5, 1.0]).sum(), rtol=1e-6
    )


def test_gradnorm():
    weighting = make("gradnorm", asymmetry=1.0, learning_rate=0.1)
    gradients = [[tf.constant([3.0, 4.0])], [tf.constant([0.0, 1.0])]]  # norms 5 and 1
    # First step: all rates are 1, the target is the mean norm, 3. ctr is above: 1 − 0.1·5; cvr
    # below: 1 + 0.1·1; scaled to the sum 2
    np.testing.assert_array_equal(weighting.balance(gradients, tf.constant([2.0, 4.0])), [1.0, 1.0])
    np.testing.assert_allclose(weights(weighting), np.array([0.5, 1.1]) * 2 / 1.6, rtol=1e-6)
    # Second: progress (½, 1), rates (2/3, 4/3). G = (0.625·5, 1.375·1) = (3.125, 1.375), mean 2.25:
    # targets 1.5 and 3
    weighting.balance(gradients, tf.constant([1.0, 4.0]))
    moved = np.array([0.625 - 0.1 * 5, 1.375 + 0.1 * 1])
    np.testing.assert_allclose(weights(weighting), moved * 2 / moved.sum(), rtol=1e-6)


def test_gradnorm_leaves_out_a_task_without_rows():
    weighting = make("gradnorm")
    weighting.balance([[tf.constant([3.0, 4.0])], [tf.zeros([2])]], tf.constant([2.0, 0.0]))
    assert weights(weighting) == [1.0, 1.0]  # ctr alone is at its own mean
    assert weighting.first.numpy().tolist() == [2.0, 0.0]


def products(*gradients):
    return tf.constant(np.array(gradients) @ np.array(gradients).T, tf.float32)


def test_pcgrad_on_paper():
    # g₁ = (1, 0), g₂ = (−1, 1): g₁·g₂ = −1. g₁' = g₁ + ½g₂, g₂' = g₂ + g₁: together 2·g₁ + 1.5·g₂
    orders = [tf.constant([1, 0]), tf.constant([0, 1])]
    np.testing.assert_allclose(surgery(products([1.0, 0.0], [-1.0, 1.0]), orders), [2.0, 1.5])
    np.testing.assert_array_equal(
        surgery(products([1.0, 0.0], [1.0, 1.0]), orders), [1.0, 1.0]
    )  # no conflict


def test_pcgrad_of_three_against_the_vectors():
    random = np.random.default_rng(3)
    for _ in range(20):
        gradients = random.normal(size=(3, 4))
        orders = [random.permutation(3) for _ in range(3)]
        projected = []
        for k, order in enumerate(orders):
            g = gradients[k].copy()
            for j in order:
                if j != k and g @ gradients[j] < 0:
                    g -= g @ gradients[j] / (gradients[j] @ gradients[j]) * gradients[j]
            projected.append(g)
        found = (
            surgery(products(*gradients), [tf.constant(order) for order in orders]).numpy()
            @ gradients
        )
        np.testing.assert_allclose(found, sum(projected), rtol=1e-4, atol=1e-5)


def config(weighting, sharing="mmoe", **options):
    table = {"name": weighting} | OPTIONS.get(weighting, {}) | options
    return ModelConfig.parse(
        {"sharing": {"name": sharing} | SMALL[sharing], "weighting": table}, "model"
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighting")
    return Data(write_data(folder, train=400), make_spec())


@pytest.mark.parametrize("weighting", WEIGHTING)
def test_losses_fall(weighting, data):
    settings = make_train(batch_size=100, learning_rate=0.03, embedding_learning_rate=0.5)
    trainer = Trainer(make_spec(), config(weighting), settings, data.fitted, make_strategy(None))
    assert set(trainer.objective_weights) == {"ctr", "cvr"}
    endless = iter(batches(data, 100))
    first = trainer.steps(endless, tf.constant(1, tf.int64)).losses.numpy()
    trainer.steps(endless, tf.constant(50, tf.int64))
    last = trainer.steps(endless, tf.constant(4, tf.int64)).losses.numpy()
    assert (last < 0.8 * first).all(), (first, last)
    if weighting not in ("fixed", "pcgrad"):  # a step without conflict has the weights 1
        assert trainer.objective_weights != {"ctr": 1.0, "cvr": 1.0}


@pytest.mark.parametrize("weighting", ["pareto", "pcgrad", "gradnorm"])
def test_gradients_are_those_of_the_weighted_losses(weighting, data):
    batch = next(iter(batches(data, 100)))
    trainer = Trainer(
        make_spec(), config(weighting), make_train(), data.fitted, make_strategy(None)
    )
    _, tables, dense = trainer.strategy.run(trainer.gradients, args=(batch,))
    plain = {}
    for name in ("ctr", "cvr"):  # each objective's own gradients
        alone = config("fixed", weights={"ctr": float(name == "ctr"), "cvr": float(name == "cvr")})
        other = Trainer(make_spec(), alone, make_train(), data.fitted, make_strategy(None))
        _, own_tables, own = other.strategy.run(other.gradients, args=(batch,))
        plain[name] = [tf.convert_to_tensor(g).numpy() for g in (*own_tables, *own)]
    weight = (
        {"ctr": 1.0, "cvr": 1.0} if weighting == "gradnorm" else trainer.objective_weights
    )  # of this step
    count = len(tables)
    for i, found in enumerate(map(tf.convert_to_tensor, (*tables, *dense))):
        shared = plain["ctr"][i].any() and plain["cvr"][i].any() and i >= count
        w = {"ctr": 1.0, "cvr": 1.0} if weighting == "pcgrad" and not shared else weight
        np.testing.assert_allclose(
            found, w["ctr"] * plain["ctr"][i] + w["cvr"] * plain["cvr"][i], rtol=1e-4, atol=1e-7
        )


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["uncertainty", "dwa", "gradnorm", "pcgrad"])
def test_an_interrupted_training_ends_with_the_same_weights(weighting, tmp_path):
    states = []
    for folder, stops in (("whole", [8]), ("halved", [4, 8])):
        write_data(tmp_path / folder)
        for steps in stops:
            estimator = make_estimator(
                tmp_path / folder, model=config(weighting), steps=steps, checkpoint_every=4
            )
            estimator.train()
        reader = tf.train.load_checkpoint(str(tmp_path / folder / "model" / "checkpoints"))
        names = [n for n in reader.get_variable_to_shape_map() if n.startswith("state/")]
        states.append({name: reader.get_tensor(name) for name in names})
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"name": "fixd"}, r"model\.weighting.*'fixd' is unknown: did you mean 'fixed'\?"),
        (
            {"name": "fixed", "weights": {"ctr": -1}},
            r"model\.weighting\.weights\.ctr = -1: .*greater than or equal to 0",
        ),
        ({"name": "decay", "gama": {}}, r"unknown key 'gama': did you mean 'gamma'\?"),
    ],
)
def test_options_are_checked(table, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"weighting": table}, "model")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"name": "fixed", "weights": {"ctcvr": 1.0}},
            r"weights names 'ctcvr', which is not an objective: .*c[tv]r",
        ),
    ],
)
def test_names_are_checked_against_the_objectives(table, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"weighting": table}, "model").check(make_spec())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("gradnorm", "a layer that all of several heads share"),
        ("pareto", "dense weights that several objectives reach"),
        ("pcgrad", "dense weights that several objectives reach"),
    ],
)
def test_gradients_are_compared_where_something_is_shared(name, what):
    problem = (
        f"'{name}' compares gradients of {what}, and sharing '{{}}' with funnel 'independent' of "
        "ctr, cvr has none: choose"
    )
    with pytest.raises(FunnelError, match=problem.format("single_task")):
        config(name, "single_task").check(make_spec())
    alone = config(name, "asymmetric").model_copy(
        update={"sharing": SHARING["asymmetric"].Params(name="asymmetric", reads={})}
    )
    with pytest.raises(FunnelError, match=problem.format("asymmetric")):
        alone.check(make_spec())
    config(name, "asymmetric").check(make_spec())  # cvr reads ctr's bottom
    with pytest.raises(
        FunnelError,
        match=(
            f"compares gradients of {what}, and sharing 'mmoe' with funnel 'independent' of ctr "
            "has none"
        ),
    ):
        config(name).check(make_spec(tasks={"ctr": {"label": "click"}}))
