"""What is read off gates: means and entropies on paper, the warnings, and the files that an
evaluation leaves.
"""

import json

import numpy as np
import pytest
from model_data import batches, make_estimator, make_model, write_data

from model.evaluation.gates import GateSums, gate_warnings


def summary(experts, *batches):
    sums = GateSums(experts)
    for batch in batches:
        weights = {gate: np.array(rows, np.float32) for gate, rows in batch.items()}
        sums.add(weights, len(next(iter(weights.values()))))
    return sums.summary()


def test_means_and_entropy_on_paper():
    found = summary(
        {"level_0/ctr": ["a", "b"]},
        {"level_0/ctr": [[1.0, 0.0], [0.5, 0.5]]},
        {"level_0/ctr": [[0.0, 1.0], [0.5, 0.5]]},
    )
    # of four rows two are certain (entropy 0) and two even (ln 2)
    assert found == {
        "level_0/ctr": {"weights": {"a": 0.5, "b": 0.5}, "entropy": pytest.approx(np.log(2) / 2)}
    }


def test_batches_of_different_sizes_weigh_by_rows():
    found = summary({"g": ["a", "b"]}, {"g": [[1.0, 0.0]] * 3}, {"g": [[0.0, 1.0]]})
    assert found["g"]["weights"] == {"a": 3 / 4, "b": 1 / 4}


def gates(**weights):
    return {gate: {"weights": own, "entropy": 0.0} for gate, own in weights.items()}


def test_even_gates_give_no_warning():
    assert gate_warnings(gates(ctr={"a": 0.5, "b": 0.5}, cvr={"a": 0.985, "b": 0.015})) == []


def test_a_gate_that_gives_one_expert_everything():
    found = gate_warnings(gates(ctr={"a": 0.005, "b": 0.995}, cvr={"a": 0.6, "b": 0.4}))
    assert len(found) == 1  # a is of use to cvr
    assert found[0].startswith(
        "gate ctr gives b 0.995 of its mass, more than 0.99: it does not use the other experts; "
        "compare the labels"
    )
    assert "lower train.learning_rate" in found[0]


def test_an_expert_that_nobody_uses():
    found = gate_warnings(
        gates(ctr={"a": 0.5, "b": 0.495, "c": 0.005}, cvr={"a": 0.3, "b": 0.691, "c": 0.009})
    )
    assert len(found) == 1
    assert found[0].startswith(
        "expert c gets at most 0.009 of any gate's mass, less than 0.01: no gate uses it; take "
        "fewer experts"
    )


def test_a_tasks_own_expert_is_judged_by_the_gates_that_mix_it():
    # cvr's own expert is dead though ctr, which does not see it, gives it nothing; ctr's own expert
    # lives in the shared gate
    weights = {
        "ctr": {"ctr_0": 0.004, "shared": 0.5, "more": 0.496},
        "cvr": {"cvr_0": 0.003, "shared": 0.5, "more": 0.497},
    }
    shared = {"ctr_0": 0.4, "cvr_0": 0.002, "shared": 0.3, "more": 0.298}
    assert [line.split(" gets")[0] for line in gate_warnings(gates(**weights, shared=shared))] == [
        "expert cvr_0"
    ]


def test_a_gate_over_one_expert_mixes_nothing_to_begin_with():
    assert gate_warnings(gates(ctr={"a": 1.0})) == []


def test_the_limits_themselves_are_allowed():
    assert gate_warnings(gates(ctr={"a": 0.99, "b": 0.01})) == []


@pytest.mark.parametrize("sharing", ["mmoe", "ple"])
def test_an_estimator_reads_the_eval_split(tmp_path, sharing):
    write_data(tmp_path)
    estimator = make_estimator(
        tmp_path, model=make_model(sharing), steps=2
    )  # batches of 16: the last of 60 rows is smaller
    estimator.train()
    found = estimator.health()
    model = estimator.load()
    batch = next(iter(batches(estimator.data, 60, split="eval")))
    expected = {
        gate: weights.numpy().mean(0)
        for gate, weights in model.gate_weights(batch["ids"], batch["dense"]).items()
    }
    assert {
        gate: list(one["weights"]) for gate, one in found["gates"].items()
    } == model.gated_experts
    for gate, mean in expected.items():
        np.testing.assert_allclose(list(found["gates"][gate]["weights"].values()), mean, atol=1e-6)
        assert 0 < found["gates"][gate]["entropy"] <= np.log(len(mean)) + 1e-6
    assert json.loads((tmp_path / "model/health.json").read_text()) == found


@pytest.mark.parametrize("sharing", ["moe", "mmoe", "ml_mmoe", "cgc"])
def test_gates_are_read_in_half_precision_too(tmp_path, sharing):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path, model=make_model(sharing), steps=2, precision="bfloat16")
    estimator.train()
    gates = estimator.health()["gates"].values()
    np.testing.assert_allclose(
        [sum(gate["weights"].values()) for gate in gates], 1, atol=1e-2
    )  # bfloat16 has three digits


def test_without_gates_there_is_nothing_to_read(tmp_path):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path, model=make_model("shared_bottom"), steps=1)
    estimator.train()
    assert estimator.health()["gates"] == {}
