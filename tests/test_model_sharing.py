"""What each sharing computes, on paper, and who owns which weights."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_model, make_spec

from features.errors import FunnelError
from model.embeddings.inputs import Inputs
from model.sharing import SHARING
from model.sharing.cgc import SHARED

HEADS = ["ctr", "cvr"]
X = Inputs(tf.constant([[1.0, 2.0]]), {}, {})
ROWS = Inputs(tf.random.stateless_normal([5, 2], [1, 2]), {}, {})
QUARTER = np.array(
    [[0.0, np.log(3.0)], [0.0, 0.0]]
)  # the kernel of a gate that reads (1, 2): softmax(0, ln 3) = (1/4, 3/4)
SPEC = make_spec()


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
    assert {head: h.numpy().item() for head, h in out.items()} == {
        "ctr": 9.0,
        "cvr": 9.0,
    }  # 2·1 + 3·2 + 1
    assert out["ctr"] is out["cvr"]


def test_single_task_golden():
    layer = build("single_task", units=[1])
    layer.bottoms["ctr"].set_weights([np.array([[2.0], [3.0]]), np.array([1.0])])
    layer.bottoms["cvr"].set_weights([np.array([[1.0], [-1.0]]), np.array([5.0])])
    assert {head: h.numpy().item() for head, h in layer(X).items()} == {
        "ctr": 9.0,
        "cvr": 4.0,
    }  # 9; 1 − 2 + 5


def test_asymmetric_golden():
    layer = build("asymmetric", units=[1])
    set_experts(layer.bottoms, [2, 1], [0, 4])  # f_ctr = 2 + 2 = 4, f_cvr = 8
    assert {head: h.numpy().tolist() for head, h in layer(X).items()} == {
        "ctr": [[4.0]],
        "cvr": [[8.0, 4.0]],
    }
    other = build("asymmetric", units=[1], reads={"ctr": ["cvr"]})
    set_experts(other.bottoms, [2, 1], [0, 4])
    assert {head: h.numpy().tolist() for head, h in other(X).items()} == {
        "ctr": [[4.0, 8.0]],
        "cvr": [[8.0]],
    }


@pytest.mark.parametrize(
    ("reads", "shared"),
    [
        (None, [True, False, False]),
        ({"b": ["a"], "c": ["a"]}, [True, False, False]),
        ({"a": ["b"], "b": ["a"], "c": ["a", "b"]}, [True, True, False]),
        ({"b": ["a"]}, [False] * 3),
        ({}, [False] * 3),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, [False] * 3),
    ],
)
def test_asymmetric_shares_a_layer_where_one_bottom_is_read_by_all(reads, shared):
    layer = SHARING["asymmetric"]({"units": [2], "reads": reads}, ["a", "b", "c"])
    layer(X)
    assert layer.shared_in_last == shared
    assert bool(layer.last_shared) is any(shared)


@pytest.mark.parametrize(
    ("reads", "problem"),
    [
        (
            {"cvr": ["ctrr"]},
            r"model\.sharing\.reads names 'ctrr', which is not a head of the funnel: did you mean "
            r"'ctr'\?",
        ),
        (
            {"buy": ["ctr"]},
            r"reads names 'buy', which is not a head of the funnel: known: ctr, cvr",
        ),
        ({"cvr": ["cvr"]}, r"reads lets 'cvr' read itself"),
        ({"cvr": ["ctr", "ctr"]}, r"reads lets 'cvr' read ctr, ctr: name each head once"),
    ],
)
def test_asymmetric_reads_other_heads(reads, problem):
    with pytest.raises(FunnelError, match=problem):
        make_model("asymmetric", reads=reads).check(SPEC)


def test_customized_golden():
    layer = build("customized", units=[1])
    set_experts(layer.bottoms, [1, 1], [2, 1], [0, 4])  # shared 3, ctr 4, cvr 8
    assert {head: h.numpy().tolist() for head, h in layer(X).items()} == {
        "ctr": [[3.0, 4.0]],
        "cvr": [[3.0, 8.0]],
    }


def test_moe_golden():
    layer = build("moe", experts=2, expert_units=[1])
    set_experts(layer.experts, [2, 1], [0, 4])  # f₁ = 4, f₂ = 8
    layer.gate.dense.set_weights([QUARTER])
    out = layer(X)
    np.testing.assert_allclose(out["ctr"], [[4 / 4 + 8 * 3 / 4]], rtol=1e-6)
    assert out["ctr"] is out["cvr"]


def test_mmoe_golden():
    layer = build("mmoe", experts=2, expert_units=[1])
    set_experts(layer.experts, [2, 1], [0, 4])  # f₁ = 2 + 2 = 4, f₂ = 8
    layer.gates["ctr"].dense.set_weights([QUARTER])
    layer.gates["cvr"].dense.set_weights([np.zeros([2, 2])])
    out = layer(X)
    np.testing.assert_allclose(out["ctr"], [[4 / 4 + 8 * 3 / 4]], rtol=1e-6)
    np.testing.assert_allclose(out["cvr"], [[4 / 2 + 8 / 2]], rtol=1e-6)


def test_mmoe_whose_tasks_share_one_gate_is_moe():
    one, many = (
        build(name, experts=3, expert_units=[4, 2], gate_units=[2]) for name in ("moe", "mmoe")
    )
    many.experts.set_weights(one.experts.get_weights())
    for gate in many.gates.values():
        gate.set_weights(one.gate.get_weights())
    for head, h in many(ROWS).items():
        np.testing.assert_array_equal(h, one(ROWS)[head])


def test_ml_mmoe_golden():
    layer = build("ml_mmoe", levels=2, experts=2, expert_units=[1])
    first, last = layer.levels
    set_experts(first.experts, [2, 1], [0, 4])  # f₁ = 4, f₂ = 8
    first.gates["_expert_0"].dense.set_weights([QUARTER])
    first.gates["_expert_1"].dense.set_weights([np.zeros([2, 2])])
    last.experts.set_weights([np.array([[[1.0]], [[2.0]]]), np.zeros([2, 1, 1])])
    last.gates["ctr"].dense.set_weights([QUARTER])
    last.gates["cvr"].dense.set_weights([np.zeros([2, 2])])
    # The experts above read 4/4 + 8·3/4 = 7 and (4 + 8)/2 = 6, and give 1·7 and 2·6. All gates read
    # x = (1, 2).
    out = layer(X)
    np.testing.assert_allclose(
        [out["ctr"].numpy().item(), out["cvr"].numpy().item()],
        [7 / 4 + 12 * 3 / 4, (7 + 12) / 2],
        rtol=1e-6,
    )


@pytest.mark.parametrize("expert", ["mlp", "cross"])
def test_ml_mmoe_of_one_level_is_mmoe(expert):
    one, many = (
        build(name, experts=3, expert_units=[4, 2], expert=expert, **more)
        for name, more in (("mmoe", {}), ("ml_mmoe", {"levels": 1}))
    )
    many.levels[0].experts.set_weights(one.experts.get_weights())
    for head, gate in many.levels[0].gates.items():
        gate.set_weights(one.gates[head].get_weights())
    for head, h in many(ROWS).items():
        np.testing.assert_array_equal(h, one(ROWS)[head])


def test_cgc_golden():
    layer = build("cgc", shared_experts=1, task_experts=1, expert_units=[1])
    set_experts(layer.level.experts["all"], [1, 1], [0, 3], [4, 4])  # ctr 3, cvr 6, shared 12
    layer.level.gates["ctr"].dense.set_weights(
        [np.array([[np.log(2.0), 0.0], [0.0, 0.0]])]
    )  # softmax(ln 2, 0) = (2/3, 1/3)
    layer.level.gates["cvr"].dense.set_weights([np.zeros([2, 2])])
    out = layer(X)
    np.testing.assert_allclose(
        [out[head].numpy().item() for head in HEADS], [3 * 2 / 3 + 12 / 3, (6 + 12) / 2], rtol=1e-6
    )


def test_ple_of_one_level_is_cgc():
    one, many = build("cgc", expert_units=[4, 2]), build("ple", expert_units=[4, 2], levels=1)
    many.set_weights(one.get_weights())
    assert [w.path.split("/", 1)[1] for w in one.weights] == [
        w.path.split("/", 1)[1] for w in many.weights
    ]
    assert one.gated_experts == many.gated_experts
    for head, h in many(ROWS).items():
        np.testing.assert_array_equal(h, one(ROWS)[head])


def test_ple_golden():
    layer = build("ple", levels=2, shared_experts=1, task_experts=1, expert_units=[1])
    first, last = layer.levels
    set_experts(first.experts["all"], [1, 1], [0, 3], [4, 4])  # ctr 3, cvr 6, shared 12
    first.gates["ctr"].dense.set_weights(
        [np.array([[np.log(2.0), 0.0], [0.0, 0.0]])]
    )  # softmax(ln 2, 0) = (2/3, 1/3)
    for gate in (first.gates["cvr"], first.gates[SHARED], *last.gates.values()):
        gate.dense.set_weights([np.zeros(gate.dense.kernel.shape)])
    for number, experts in enumerate(last.experts.values(), start=1):
        experts.set_weights(
            [np.array([[float(number)]]), np.zeros(1)]
        )  # f(x) = 1·x for ctr, 2·x for cvr, 3·x for shared
    # Level 1: ctr 3·2/3 + 12·1/3 = 6; cvr (6 + 12)/2 = 9; shared, of all experts, (3 + 6 + 12)/3 =
    # 7.
    states, _ = first(dict.fromkeys([*HEADS, SHARED], X))
    np.testing.assert_allclose(
        [states[g].numpy().item() for g in ("ctr", "cvr", SHARED)], [6, 9, 7], rtol=1e-6
    )
    # Level 2: experts give ctr 1·6, cvr 2·9, shared 3·7 = 21; ctr (6 + 21)/2, cvr (18 + 21)/2.
    out = layer(X)
    np.testing.assert_allclose(
        [out[head].numpy().item() for head in HEADS], [13.5, 19.5], rtol=1e-6
    )
    assert set(out) == set(HEADS)


def test_ple_gates_of_a_level_read_the_level_before():
    layer = build("ple", levels=2, shared_experts=1, task_experts=2, expert_units=[5])
    assert [tuple(level.gates["ctr"].dense.kernel.shape) for level in layer.levels] == [
        (2, 3),
        (5, 3),
    ]
    assert tuple(layer.levels[0].gates[SHARED].dense.kernel.shape) == (
        2,
        5,
    )  # 2 experts of each of 2 tasks and 1 shared


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ple_has_a_shared_gate_on_all_levels_but_the_last(levels):
    layer = build("ple", levels=levels, expert_units=[2])
    assert [SHARED in level.gates for level in layer.levels] == [True] * (levels - 1) + [False]
