"""Every option of sharings and funnels changes a weight after a step on literal numbers."""

import numpy as np
import pytest
from effects import differs

from features.spec import Spec
from model.config import ModelConfig
from model.settings.funnels import FUNNEL_PARAMS
from model.settings.sharing import SHARING_PARAMS

pytestmark = pytest.mark.slow

HEADS = ["ctr", "cvr"]
NETWORK = {  # options of every network of dense layers
    "activation": "tanh",
    "normalize": "layer",
    "dropout": 0.5,
    "l2": 0.1,
    "residual": True,
}
UNITS = {"units": [4, 4]}
EXPERTS = {"expert_units": [4, 4]}
FEW = EXPERTS | {"shared_experts": 1, "task_experts": 1}
SHARINGS = {  # {name: (its options, the changes of its own options)}
    "single_task": (UNITS, {}),
    "shared_bottom": (UNITS, {}),
    "asymmetric": (UNITS, {"reads": {"ctr": ["cvr"]}}),
    "customized": (UNITS, {}),
    "cross_stitch": (UNITS, {"own_share": 0.5, "per_unit": True}),
    "sluice": (UNITS, {"subspaces": 4, "own_share": 0.5, "orthogonality": 0.1}),
    "moe": (EXPERTS, {"experts": 2, "gate_units": [3]}),
    "mmoe": (EXPERTS, {"experts": 2, "gate_units": [3]}),
    "ml_mmoe": (EXPERTS, {"experts": 2, "gate_units": [3], "levels": 3}),
    "cgc": (FEW, {"shared_experts": 2, "task_experts": 2, "gate_units": [3]}),
    "ple": (FEW, {"shared_experts": 2, "task_experts": 2, "gate_units": [3], "levels": 1}),
    "mose": ({"gate_units": [3, 3]}, {"experts": 2, "lstm_units": 3, "sequences": ["s"]}),
}
LSTM = {"expert": "lstm", "lstm_units": 3}
ALL_EXPERTS = {  # options of every sharing with experts, from these of the others
    "expert": ({}, "cross"),
    "cross_layers": ({"expert": "cross"}, 1),
    "lstm_units": (LSTM, 2),
    "sequences": (LSTM, ["s"]),
}
FUNNELS = {
    "independent": ({}, {}),
    "esmm": ({}, {}),
    "esm2": ({"action": "cvr"}, {"action": "buy"}),
    "dbmtl": ({}, {"relation_units": [3]}),
    "aitm": ({}, {"calibrator_weight": 9.0}),
    "escm2": (
        {},
        {
            **{"estimator": "dr", "propensity_floor": 0.9},
            **{"counterfactual_weight": 2.0, "global_weight": 2.0},
        },
    ),
}


def sharing_cases():
    for name, (base, own) in SHARINGS.items():
        yield from ((name, base, option, value) for option, value in (NETWORK | own).items())
        shape = next(iter(base))
        yield name, base, shape, [3, 4] if name == "mose" else [8, 8]
        if shape == "expert_units":
            for option, (more, value) in ALL_EXPERTS.items():
                yield name, base | more, option, value


def funnel_cases():
    for name, (own, changes) in FUNNELS.items():
        base = own | {"tower_units": [4, 4]}
        for option, value in (NETWORK | changes | {"tower_units": [3, 4]}).items():
            yield name, base, option, value


def case_id(value):
    return value if isinstance(value, str) else None


def values(variables):
    return [np.asarray(v).tobytes() for v in variables]


def after_a_step(layer, loss):
    """The weights of a layer after a step of gradient descent."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        total = loss() + tf.add_n([tf.zeros([]), *layer.losses])
    weights = layer.trainable_weights
    found = tape.gradient(total, [w.value for w in weights])
    assert found, "nothing is trained"
    return values(
        [w - 0.1 * g if g is not None else w for w, g in zip(weights, found, strict=True)]
    )


def inputs():
    import tensorflow as tf

    from model.embeddings.inputs import History, Inputs

    draw = np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(draw.normal(size=shape).astype(np.float32))

    steps = {name: History(normal(8, 2, 2), tf.ones([8, 2], tf.bool)) for name in ("s", "t")}
    return Inputs(normal(8, 6), {name: normal(8, 2) for name in "abc"}, steps)


def shared(options):
    import keras
    import tensorflow as tf

    from model.sharing import SHARING

    keras.utils.set_random_seed(1)
    params = ModelConfig.parse({"sharing": options}, "model").sharing
    params.check_heads(HEADS)
    layer, given = SHARING[params.name](params, HEADS), inputs()

    def loss():
        return tf.add_n([tf.reduce_sum(h**2) for h in layer(given, training=True).values()])

    return after_a_step(layer, loss)


@pytest.mark.parametrize(("name", "base", "option", "value"), list(sharing_cases()), ids=case_id)
def test_a_sharing(name, base, option, value):
    differs(shared, {"name": name} | base, {option: value})


LABELS = {name: {"event": name, "within": "1d"} for name in ("click", "convert", "cart")}
CHAIN = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}


def spec_of(funnel):
    tasks = CHAIN | ({"buy": {"label": "cart", "given": "click"}} if funnel == "esm2" else {})
    user = {"kind": "categorical", "buckets": 9}
    return Spec.parse({"features": {"user": user}, "labels": LABELS, "tasks": tasks})


def funneled(options):
    import keras
    import tensorflow as tf

    from model.funnels import FUNNELS as BY_NAME

    keras.utils.set_random_seed(1)
    spec = spec_of(options["name"])
    params = ModelConfig.parse({"funnel": options}, "model").funnel
    layer = BY_NAME[params.name](params, spec)
    labels = {
        "click": tf.constant([1, 0, 1, 1]),
        "convert": tf.constant([1, 0, 0, 1]),
        "cart": tf.constant([0, 0, 1, 1]),
    }
    read = {head: inputs().flat[:4] * (1 + i) for i, head in enumerate(layer.heads)}

    def loss():
        objectives = layer.objectives(layer(read, training=True), labels)
        return tf.add_n([objective.sums()[0] for objective in objectives])

    return after_a_step(layer, loss)


@pytest.mark.parametrize(("name", "base", "option", "value"), list(funnel_cases()), ids=case_id)
def test_a_funnel(name, base, option, value):
    differs(funneled, {"name": name} | base, {option: value})


ALIKE = {
    "sharing": (shared, {name: base for name, (base, _) in SHARINGS.items()}),
    # esm2 is over other tasks
    "funnel": (funneled, {name: {} for name in FUNNELS if name != "esm2"}),
}


@pytest.mark.parametrize("axis", ALIKE)
def test_every_entry_differs_from_every_other(axis):
    observe, entries = ALIKE[axis]
    found = [str(observe({"name": name} | base)) for name, base in entries.items()]
    assert len(set(found)) == len(found)


OPTIONS = {
    *(f"{SHARING_PARAMS[name].__name__}.{option}" for name, _, option, _ in sharing_cases()),
    *(f"{FUNNEL_PARAMS[name].__name__}.{option}" for name, _, option, _ in funnel_cases()),
    *("ModelConfig.sharing", "ModelConfig.funnel"),
}
