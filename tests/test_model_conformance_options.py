"""Every kind of expert and every option of networks, through a whole training step."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import batches, make_spec, make_train, write_data

from model.config import ModelConfig
from model.data.input import Data
from model.ranking import RankingModel
from model.sharing.experts import EXPERTS
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

SPEC = make_spec()
SHARINGS = {"mmoe": {"experts": 2}, "ple": {"levels": 2, "shared_experts": 1, "task_experts": 1}}
OPTIONS = {
    "none": {},
    "batch": {"normalize": "batch"},
    "layer": {"normalize": "layer"},
    "dropout": {"dropout": 0.1},
    "residual": {"residual": True},
    "gate_units": {"gate_units": [4]},
    "all": {"normalize": "batch", "dropout": 0.1, "residual": True, "gate_units": [4, 4]},
}
CASES = [("mmoe", "mlp", option) for option in OPTIONS] + [
    ("mmoe", kind, "none") for kind in EXPERTS if kind != "mlp"
]
CASES += [
    pytest.param(("ple", kind, "all"), marks=() if kind == "mlp" else pytest.mark.slow)
    for kind in EXPERTS
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Data(write_data(tmp_path_factory.mktemp("options"), train=600), SPEC)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def config(request):
    sharing, kind, option = request.param
    return make_config(sharing, kind, **OPTIONS[option])


def make_config(sharing, kind, **options):
    towers = {"ctr": [4, 4], "cvr": [3, 3]}
    network = {"activation": "elu"} | {
        name: value for name, value in options.items() if name != "gate_units"
    }
    return ModelConfig.parse(
        {
            "sharing": {"name": sharing, "expert": kind, "expert_units": [4, 4]}
            | SHARINGS[sharing]
            | options
            | network,
            "funnel": {"name": "esmm", "tower_units": towers} | network,
        }
    )


@pytest.fixture(scope="module")
def trainer(config, data):
    return make_trainer(config, data)


def make_trainer(config, data):
    return Trainer(
        SPEC,
        config,
        make_train(batch_size=200, learning_rate=0.02),
        data.fitted,
        make_strategy(None),
    )


def rows(data):
    return next(iter(batches(data, 600)))


def gradients(trainer, batch):
    """{path of a weight: its gradient}."""
    found = trainer.strategy.run(trainer.gradients, args=(batch,))[2]
    return {
        w.path: g if g is None else g.numpy()
        for w, g in zip(trainer.model.weights, found, strict=True)
    }


def test_every_weight_gets_a_gradient(trainer, data):
    found = gradients(trainer, rows(data))
    # More than the rounding of a weight without effect.
    assert [path for path, g in found.items() if g is None or np.abs(g).max() < 1e-7] == []


def test_towers_have_the_units_of_their_heads(trainer):
    towers = {
        path: shape
        for path, shape in shapes(trainer.model).items()
        if path.startswith("funnel/tower") and path.endswith("kernel")
    }
    assert [towers[f"funnel/tower_{head}/dense_1/kernel"] for head in ("ctr", "cvr")] == [
        (4, 4),
        (3, 3),
    ]


def shapes(model):
    return {w.path: tuple(w.shape) for w in model.weights}


def test_a_step_changes_the_state_and_a_checkpoint_holds_all_of_it(trainer, config, data, tmp_path):
    before = {name: variable.numpy().copy() for name, variable in trainer.model.state.items()}
    for batch in batches(data, 200).take(2):
        trainer.strategy.run(trainer.step, args=(batch,))
    after = trainer.model.state
    assert [name for name, value in before.items() if np.array_equal(value, after[name])] == []
    averages = [name for name in after if name.endswith(("moving_mean", "moving_variance"))]
    assert bool(averages) == (config.sharing.normalize == "batch")
    again = RankingModel(SPEC, config, data.fitted, seed=9)
    path = tf.train.Checkpoint(**holders(trainer.model)).write(str(tmp_path / "state"))
    tf.train.Checkpoint(**holders(again)).read(path).assert_consumed()
    batch = rows(data)
    wanted, found = (model.scores(batch["ids"], batch["dense"]) for model in (trainer.model, again))
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def holders(model):
    return {name.replace("/", "|"): variable for name, variable in model.state.items()}


def test_l2_adds_twice_its_weights_to_the_gradients_of_kernels(data):
    plain, decayed = (
        make_trainer(make_config("mmoe", "fm", gate_units=[4], **l2), data)
        for l2 in ({}, {"l2": 0.5})
    )
    batch, w = rows(data), {weight.path: weight.numpy() for weight in plain.model.weights}
    without, found = gradients(plain, batch), gradients(decayed, batch)
    for path, value in w.items():
        kernel = "bias" not in path and "logit" not in path
        np.testing.assert_allclose(
            found[path] - without[path],
            2 * 0.5 * value if kernel else 0 * value,
            atol=1e-6,
            err_msg=path,
        )
