"""What each sharing computes, on paper, and who owns which weights."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_model, make_spec

from features.errors import FunnelError
from features.fitted import Fitted
from model.config import ModelConfig
from model.embedding import Inputs
from model.ranking import RankingModel
from model.sharing import SHARING
from model.sharing.ple import SHARED

HEADS = ["ctr", "cvr"]
X = Inputs(tf.constant([[1.0, 2.0]]), {}, {})
SPEC = make_spec()
FITTED = Fitted(moments=dict.fromkeys(SPEC.numeric, (0.0, 1.0)))


def build(name, **options):
    layer = SHARING[name](SHARING[name].Params.parse({"name": name, **options}), HEADS, name=name)
    layer(X)
    return layer


def set_experts(layer, *kernels):
    """One-layer experts of one unit over two inputs: fᵢ(x) = relu(kernelᵢ · x)."""
    layer.set_weights([np.array(kernels, float).T, np.zeros(len(kernels))])


def test_shared_bottom_golden():
    layer = build("shared_bottom", units=[1])
    layer.bottom.set_weights([np.array([[2.0], [3.0]]), np.array([1.0])])
    out = layer(X)
    assert {head: h.numpy().item() for head, h in out.items()} == {"ctr": 9.0, "cvr": 9.0}  # 2·1 + 3·2 + 1
    assert out["ctr"] is out["cvr"]


def test_single_task_golden():
    layer = build("single_task", units=[1])
    layer.bottoms["ctr"].set_weights([np.array([[2.0], [3.0]]), np.array([1.0])])
    layer.bottoms["cvr"].set_weights([np.array([[1.0], [-1.0]]), np.array([5.0])])
    assert {head: h.numpy().item() for head, h in layer(X).items()} == {"ctr": 9.0, "cvr": 4.0}  # 9; 1 − 2 + 5


def test_mmoe_golden():
    layer = build("mmoe", experts=2, expert_units=[1])
    set_experts(layer.experts, [2, 1], [0, 4])  # f₁ = 2 + 2 = 4, f₂ = 8
    layer.gates["ctr"].dense.set_weights([np.array([[0.0, np.log(3.0)], [0.0, 0.0]])])  # softmax(0, ln 3) = (1/4, 3/4)
    layer.gates["cvr"].dense.set_weights([np.zeros([2, 2])])
    out = layer(X)
    np.testing.assert_allclose(out["ctr"], [[4 / 4 + 8 * 3 / 4]], rtol=1e-6)
    np.testing.assert_allclose(out["cvr"], [[4 / 2 + 8 / 2]], rtol=1e-6)


def test_ple_golden():
    layer = build("ple", levels=2, shared_experts=1, task_experts=1, expert_units=[1])
    first, last = layer.levels
    set_experts(first.experts["all"], [1, 1], [0, 3], [4, 4])  # ctr 3, cvr 6, shared 12
    first.gates["ctr"].dense.set_weights([np.array([[np.log(2.0), 0.0], [0.0, 0.0]])])  # softmax(ln 2, 0) = (2/3, 1/3)
    for gate in (first.gates["cvr"], first.gates[SHARED], *last.gates.values()):
        gate.dense.set_weights([np.zeros(gate.dense.kernel.shape)])
    for number, experts in enumerate(last.experts.values(), start=1):
        experts.set_weights([np.array([[float(number)]]), np.zeros(1)])  # f(x) = 1·x for ctr, 2·x for cvr, 3·x for shared
    # Level 1: ctr 3·2/3 + 12·1/3 = 6; cvr (6 + 12)/2 = 9; shared, of all experts, (3 + 6 + 12)/3 = 7.
    states, _ = first(dict.fromkeys([*HEADS, SHARED], X))
    np.testing.assert_allclose([states[g].numpy().item() for g in ("ctr", "cvr", SHARED)], [6, 9, 7], rtol=1e-6)
    # Level 2: experts give ctr 1·6, cvr 2·9, shared 3·7 = 21; ctr (6 + 21)/2, cvr (18 + 21)/2.
    out = layer(X)
    np.testing.assert_allclose([out[head].numpy().item() for head in HEADS], [13.5, 19.5], rtol=1e-6)
    assert set(out) == set(HEADS)


def test_ple_gates_of_a_level_read_the_level_before():
    layer = build("ple", levels=2, shared_experts=1, task_experts=2, expert_units=[5])
    assert [tuple(level.gates["ctr"].dense.kernel.shape) for level in layer.levels] == [(2, 3), (5, 3)]
    assert tuple(layer.levels[0].gates[SHARED].dense.kernel.shape) == (2, 5)  # 2 experts of each of 2 tasks and 1 shared


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ple_has_a_shared_gate_on_all_levels_but_the_last(levels):
    layer = build("ple", levels=levels, expert_units=[2])
    assert [SHARED in level.gates for level in layer.levels] == [True] * (levels - 1) + [False]


@pytest.mark.parametrize(
    ("sharing", "options", "tables"),
    [("single_task", {}, 2), ("single_task", {"share_embeddings": True}, 1), ("shared_bottom", {}, 1), ("mmoe", {}, 1), ("ple", {}, 1)],
)
def test_who_has_embeddings_of_its_own(sharing, options, tables):
    model = RankingModel(SPEC, make_model(sharing, **options), FITTED, seed=1)
    assert len(model.embeddings) == tables
    assert len(model.tables) == 2 * tables  # dimensions 2 and 4
    starts = [e.tables["4"].numpy() for e in model.embeddings]
    assert all((a != b).all() for a, b in itertools.pairwise(starts))


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(FunnelError, match=r"model.sharing.*name = 'mmoee' is not an architecture: did you mean 'mmoe'\?"):
        ModelConfig.parse({"sharing": {"name": "mmoee"}}, "model")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"name": "ple", "level": 1}, r"model\.sharing.*unknown key 'level': did you mean 'levels'\?"),
        ({"name": "mmoe", "levels": 2}, r"model\.sharing.*unknown key 'levels'"),
        ({"name": "mmoe", "experts": 1}, r"model\.sharing\.experts = 1: .*greater than or equal to 2"),
        ({"name": "ple", "expert_units": []}, r"model\.sharing\.expert_units = \[\]: .*at least 1 item"),
    ],
)
def test_options_are_those_of_the_named_entry(table, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"sharing": table}, "model")


@pytest.mark.parametrize("name", SHARING)
def test_a_bare_name_and_a_dump_give_the_same_params(name):
    config = ModelConfig.parse({"sharing": name})
    assert type(config.sharing) is SHARING[name].Params
    assert ModelConfig.parse(config.model_dump(mode="json")) == config
