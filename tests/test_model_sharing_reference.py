"""Every sharing against an independent implementation: representations, gates and gradients, to
1e-5.
"""

import numpy as np
import pytest
import reference_sharing as ref
import tensorflow as tf
from reference_check import assert_outputs, assert_outputs_and_gradients, precision

from model.embeddings.inputs import History, Inputs
from model.sharing import SHARING
from model.sharing.experts import EXPERTS

HEADS = ["ctr", "cvr", "ret"]
EXPERT_UNITS = {"expert_units": [3, 2]}
MMOE = {"experts": 2, **EXPERT_UNITS}
CGC = {"shared_experts": 1, "task_experts": 1, "expert_units": [2]}
KINDS = {"mlp": {}, "cross": {"cross_layers": 2}, "fm": {}, "lstm": {"lstm_units": 2}}
RICH = {"normalize": "batch", "residual": True}
LAYER = RICH | {"normalize": "layer"}
CASES = {
    "single_task": {"units": [3, 2]},
    "single_task, rich": {"units": [3, 3]} | RICH,
    "shared_bottom": {"units": [4, 3]},
    "asymmetric": {"units": [3, 2]},
    "asymmetric, named": {"units": [2], "reads": {"ctr": ["ret"], "ret": ["cvr", "ctr"]}},
    "customized": {"units": [3, 2]},
    "moe": MMOE | {"experts": 3},
    "moe, hidden gate": MMOE | {"gate_units": [3]},
    "mmoe": MMOE,
    "mmoe, rich": {"experts": 3, "expert_units": [3, 3], "gate_units": [3]} | RICH,
    "mmoe, layer norm": {"experts": 3, "expert_units": [3, 3], "gate_units": [3]} | LAYER,
    "ml_mmoe": MMOE | {"levels": 3},
    "cgc": {"shared_experts": 2, "task_experts": 1, **EXPERT_UNITS},
    "ple": CGC | {"levels": 3},
    "ple, hidden gates": CGC | {"levels": 2, "gate_units": [3], "normalize": "batch"},
    "ple, layer norm": CGC | {"levels": 2, "expert_units": [3, 3]} | LAYER,
    "ple, more experts": CGC | {"levels": 2, "shared_experts": 2, "task_experts": 2},
    "cross_stitch": {"units": [3, 2]},
    "cross_stitch, per unit": {"units": [3, 2], "per_unit": True},
    "sluice": {"units": [4, 4], "subspaces": 2},
    "mose": {"experts": 2, "lstm_units": 2},
    "mose, hidden gates": {"experts": 2, "lstm_units": 2, "gate_units": [3]},
    **{f"mmoe, {kind}": MMOE | {"expert": kind} | own for kind, own in KINDS.items()},
    "moe, fm": MMOE | {"expert": "fm"},
    "ml_mmoe, lstm": MMOE | {"levels": 2, "expert": "lstm", "lstm_units": 2},
    "cgc, lstm": CGC | {"expert": "lstm", "lstm_units": 2},
    "ple, cross": CGC | {"levels": 2, "expert": "cross"},
    "ple, fm": CGC | {"levels": 2, "expert": "fm"},
}
RNG = np.random.default_rng(5)
INPUTS = {
    "x": RNG.normal(size=[5, 4]),
    **{
        name: RNG.normal(size=[5, dim])
        for name, dim in {
            "user": 2,
            "item": 2,
            "seller": 2,
            "hour": 3,
            "day": 3,
            "alone": 1,
        }.items()
    },
    "recent": RNG.normal(size=[5, 3, 2]),
    "seen": RNG.normal(size=[5, 3, 1]),
}
PRESENT = {  # steps of a row: whole, none, a hole, one at the end, one at the start
    "recent": np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], bool),
    "seen": np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]], bool),
}


def prepare(case, activation):
    """(layer, compute, reference, inputs) as the checks take them."""
    name = case.split(",")[0]
    options = CASES[case] | (
        {"activation": activation} if name != "mose" or "gate_units" in CASES[case] else {}
    )
    normed = (
        options.get("normalize") == "batch"
    )  # the gates that can be asked for are those of inference, with moving averages
    with precision("float64" if "normalize" in options else "float32"):
        layer = SHARING[name]({"name": name} | options, HEADS, name=name)

    def compute(tensors):
        fields = {
            name: tensors[name] for name in ("user", "item", "seller", "hour", "day", "alone")
        }
        sequences = {
            name: History(tensors[name], tf.constant(present)) for name, present in PRESENT.items()
        }
        inputs = Inputs(tensors["x"], fields, sequences)
        representations = layer(inputs, training=True)
        return representations | ({} if normed else layer.gate_weights(inputs))

    def reference(w, x):
        fields = [
            np.stack([x["user"], x["item"], x["seller"]], 1),
            np.stack([x["hour"], x["day"]], 1),
        ]
        read = ref.Read(
            x["x"],
            fields,
            np.concatenate([x["recent"], x["seen"]], 2),
            PRESENT["recent"] | PRESENT["seen"],
        )
        representations, gates = ref.SHARING[name](
            w, read, {"activation": activation} | options, HEADS
        )
        return representations | ({} if normed else gates)

    return layer, compute, reference, INPUTS


def test_every_sharing_and_every_kind_of_expert_has_a_reference():
    assert set(ref.SHARING) == set(SHARING) == {case.split(",")[0] for case in CASES}
    assert set(ref.EXPERTS) == set(EXPERTS) == set(KINDS)


@pytest.mark.parametrize("case", CASES)
def test_outputs_gates_and_gradients(case):
    assert_outputs_and_gradients(*prepare(case, "tanh"))


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gates_with_a_kink(case):
    assert_outputs(*prepare(case, "relu"))
