"""What a weighting looks at and what it leaves alone: penalties, and the parts of a joint kernel
that not all heads share.
"""

import numpy as np
import pytest
import tensorflow as tf
from model_data import SMALL, batches, make_spec, make_train, write_data
from pairs import config_of, spec_of

from features.errors import FunnelError
from model.config import ModelConfig
from model.data.input import Data
from model.sharing import SHARING
from model.sharing.base import shared_part
from model.training.strategy import make_strategy
from model.training.trainer import Trainer
from model.weighting import WEIGHTING

OPTIONS = {"decay": {"gamma": {"ctr": 0.99}}, "dwa": {"period": 2}}
TASKS = ["ctr", "ctcvr"]
X = tf.constant([[3.0, 4.0]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Data(write_data(tmp_path_factory.mktemp("penalties"), train=400), make_spec())


def make_trainer(data, weighting, sharing="mmoe", funnel="aitm", **options):
    table = {"name": funnel, "tower_units": [3]} | (
        {"calibrator_weight": 5.0, "l2": 0.01} if funnel == "aitm" else {}
    )
    weighting = {"name": weighting} | OPTIONS.get(weighting, {}) | options
    config = ModelConfig.parse(
        {"sharing": {"name": sharing} | SMALL[sharing], "funnel": table, "weighting": weighting}
    )
    return Trainer(
        make_spec(),
        config,
        make_train(batch_size=100, learning_rate=0.03),
        data.fitted,
        make_strategy(None),
    )


@pytest.mark.parametrize("weighting", WEIGHTING)
def test_a_penalty_weighs_1_under_every_weighting(weighting, data):
    trainer, endless = make_trainer(data, weighting), iter(batches(data, 100))
    first = trainer.steps(endless, tf.constant(1, tf.int64)).losses.numpy()
    trainer.steps(endless, tf.constant(50, tf.int64))
    last = trainer.steps(endless, tf.constant(4, tf.int64)).losses.numpy()
    assert trainer.objectives == [*TASKS, "calibrator_cvr"]
    assert trainer.objective_weights["calibrator_cvr"] == 1.0
    assert all(v.shape in ([], [2]) for v in trainer.weighting.state.values())  # of the tasks alone
    assert (last[:2] < first[:2]).all(), (first, last)
    assert np.isfinite(last[2])


def test_uncertainty_has_an_s_for_each_task_alone(data):
    trainer = make_trainer(data, "uncertainty")
    trainer.weighting.log_variances.assign([np.log(4.0), np.log(2.0)])
    assert trainer.objective_weights == pytest.approx(
        {"ctr": 0.25, "ctcvr": 0.5, "calibrator_cvr": 1.0}
    )


def gradients(trainer, batch):
    if (
        "ctcvr" in trainer.objectives
    ):  # a start at the base rates leaves the calibrator nothing to penalize
        trainer.model.funnel.outputs["ctr"].bias.assign([-4.0])
    _, tables, dense = trainer.strategy.run(trainer.gradients, args=(batch,))
    return [tf.convert_to_tensor(g).numpy() for g in (*tables, *dense)], len(tables)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["pareto", "pcgrad", "gradnorm"])
def test_gradients_are_the_weighted_tasks_and_the_whole_penalty(weighting, data):
    batch = next(iter(batches(data, 100)))
    trainer = make_trainer(data, weighting)
    found, tables = gradients(trainer, batch)
    rest, _ = gradients(
        make_trainer(data, "fixed", weights={"ctr": 0.0, "ctcvr": 0.0}), batch
    )  # the calibrator and the L2
    one, other = (
        gradients(make_trainer(data, "fixed", weights={name: 0.0}), batch)[0]
        for name in reversed(TASKS)
    )
    weights = (
        [1.0, 1.0]
        if weighting == "gradnorm"
        else [trainer.objective_weights[name] for name in TASKS]
    )  # of this step
    assert any(g.any() for g in rest[:tables])  # a penalty reaches the embeddings
    for i, (g, ctr, ctcvr, own) in enumerate(zip(found, one, other, rest, strict=True)):
        ctr, ctcvr = ctr - own, ctcvr - own
        shared = i >= tables and abs(ctr).max() > 1e-6 and abs(ctcvr).max() > 1e-6
        w = weights if shared or weighting != "pcgrad" else [1.0, 1.0]
        np.testing.assert_allclose(g, w[0] * ctr + w[1] * ctcvr + own, rtol=1e-4, atol=1e-6)


def compared(layer, total):
    """The norm of what GradNorm compares of `total`'s gradients."""
    with tf.GradientTape() as tape:
        loss = total(layer(X))
    last = layer.last_shared
    found = tape.gradient(loss, [w.value for w in last])
    return float(
        tf.linalg.global_norm(
            [
                g * shared_part(w.shape, layer.shared_in_last)
                for g, w in zip(found, last, strict=True)
            ]
        )
    )


def test_a_joint_kernel_counts_in_its_shared_part():
    np.testing.assert_array_equal(
        shared_part([5, 6], [False, True, False]), [0, 0, 1, 1, 0, 0]
    )  # [I, n·U]
    np.testing.assert_array_equal(
        shared_part([6], [False, True, False]), [0, 0, 1, 1, 0, 0]
    )  # [n·U]
    np.testing.assert_array_equal(
        shared_part([3, 1, 2], [False, True, False]), [[[0]], [[1]], [[0]]]
    )  # [n, 1, U]
    np.testing.assert_array_equal(shared_part([3, 4, 2], None), [[[1]]])


def test_customized_compares_the_shared_bottom_alone():
    layer = SHARING["customized"]({"units": [1], "activation": "linear"}, ["ctr", "cvr"])
    # ∂(h_shared + a·h_ctr) = (x, 1) of the shared bottom, a·(x, 1) of ctr's: √(3² + 4² + 1)
    # whatever a is
    for a in (0.0, 1.0, 7.0):
        found = compared(layer, lambda h, a=a: h["ctr"][0, 0] + a * h["ctr"][0, 1])
        assert found == pytest.approx(np.sqrt(26), rel=1e-6)


def test_cgc_compares_the_shared_experts_alone():
    options = {"shared_experts": 1, "task_experts": 2, "expert_units": [1], "activation": "linear"}
    for layer in (
        SHARING["cgc"](options, ["ctr", "cvr"]),
        SHARING["ple"](options | {"levels": 1}, ["ctr", "cvr"]),
    ):
        layer(X)
        gate = next(
            w for w in layer.trainable_weights if "gate_ctr" in w.path and w.name == "kernel"
        )
        gate.assign(tf.zeros_like(gate))  # a third of each of two own experts and of the shared one
        assert layer.shared_in_last == [False, False, False, False, True]
        assert compared(layer, lambda h: h["ctr"][0, 0]) == pytest.approx(np.sqrt(26) / 3, rel=1e-6)


@pytest.mark.parametrize("sharing", ["cgc", "customized", "asymmetric", "mmoe"])
def test_gradnorm_balances_by_the_shared_part(sharing, data):
    trainer, seen = make_trainer(data, "gradnorm", sharing, "independent"), []
    trainer.weighting.balance = lambda gradients, losses: seen.extend(gradients) or tf.ones([2])
    batch = next(iter(batches(data, 100)))
    gradients(trainer, batch)
    last = trainer.model.last_shared
    for name, own in zip(["ctr", "cvr"], seen, strict=True):
        alone = {"ctr": 0.0, "cvr": 0.0} | {name: 1.0}
        plain, tables = gradients(
            make_trainer(data, "fixed", sharing, "independent", weights=alone), batch
        )
        plain = {w.path: g for w, g in zip(trainer.model.weights, plain[tables:], strict=True)}
        shared = {"cgc": [4], "customized": [0], "asymmetric": [0], "mmoe": [0, 1]}[
            sharing
        ]  # of the networks
        for path, g in zip(last, own, strict=True):
            others = [i for i in range(len(g)) if i not in shared]
            np.testing.assert_allclose(g.numpy()[shared], plain[path][shared], rtol=1e-5, atol=1e-8)
            assert not g.numpy()[others].any()


@pytest.mark.parametrize("weighting", ["pareto", "pcgrad", "gradnorm"])
@pytest.mark.parametrize("funnel", ["independent", "esmm", "dbmtl", "aitm", "escm2"])
def test_what_single_task_leaves_to_compare(weighting, funnel):
    config = config_of("single_task", funnel).model_copy(
        update={"weighting": WEIGHTING[weighting].Params(name=weighting)}
    )
    if (
        weighting == "gradnorm" or funnel == "independent"
    ):  # elsewhere an objective reaches both towers
        with pytest.raises(
            FunnelError, match=f"model.weighting = '{weighting}' compares gradients of"
        ):
            config.check(spec_of(funnel))
    else:
        config.check(spec_of(funnel))
