"""Options and reports of every sharing, its gates, and its use as a Keras layer in a model."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_data import FEATURES, SMALL, make_model, make_spec

from features.errors import FunnelError
from features.fitted import Fitted
from model.config import ModelConfig
from model.embeddings.inputs import History, Inputs
from model.ranking import RankingModel
from model.sharing import SHARING
from model.sharing.base import shared_part
from model.sharing.experts import EXPERTS

HEADS = ["ctr", "cvr"]
SPEC = make_spec()
FITTED = Fitted(moments=dict.fromkeys(SPEC.numeric, (0.0, 1.0)))
RNG = np.random.default_rng(0)
PRESENT = RNG.random([16, 3]) < 0.6
FIELDS = {name: RNG.normal(size=(16, 2)).astype(np.float32) for name in "ab"}
INPUTS = Inputs(
    tf.constant(RNG.normal(size=(16, 5)), tf.float32),
    FIELDS,
    {"s": History(RNG.normal(size=(16, 3, 2)).astype(np.float32), PRESENT)},
)
KINDS = {name: (name, {}) for name in SHARING}
KINDS |= {
    f"mmoe of {expert}": ("mmoe", {"expert": expert}) for expert in EXPERTS if expert != "mlp"
}
KINDS |= {
    "ml_mmoe of cross": ("ml_mmoe", {"expert": "cross"}),
    "ple of lstm": ("ple", {"expert": "lstm"}),
}


@functools.cache
def plain(kind):
    return build(kind)


def build(kind, **options):
    name, more = KINDS[kind]
    dense = {"gate_units": [3]} if name == "mose" else {}  # where its dense layers are
    keras.utils.set_random_seed(1)  # of four units of ReLU none may be left alive, now and then
    layer = SHARING[name](SMALL[name] | dense | more | options, HEADS, name=name)
    layer(INPUTS)
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_gates_sum_to_one_over_the_experts_that_they_name(kind):
    layer = plain(kind)
    gates = layer.gate_weights(INPUTS)
    assert {gate: weights.shape[1] for gate, weights in gates.items()} == {
        gate: len(names) for gate, names in layer.gated_experts.items()
    }
    assert all(len(set(names)) == len(names) for names in layer.gated_experts.values())
    assert not gates or {gate.split("/")[1] for gate in gates} >= set(HEADS)
    for weights in gates.values():
        assert weights.shape[0] == 16
        np.testing.assert_allclose(tf.reduce_sum(weights, 1), np.ones(16), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_depends_on_what_is_shared_last(kind):
    layer = plain(kind)
    with tf.GradientTape(persistent=True) as tape:
        sums = {head: tf.reduce_sum(h**2) for head, h in layer(INPUTS).items()}
    assert (
        bool(layer.last_shared)
        is (kind != "single_task")
        is (set(HEADS) in layer.params.head_groups(HEADS))
    )
    for total in sums.values():
        gradients = tape.gradient(total, [w.value for w in layer.last_shared])
        assert all(np.any(g * shared_part(g.shape, layer.shared_in_last)) for g in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_experts_differ_at_the_start(kind):
    for weight in plain(kind).trainable_variables:
        values = weight.numpy()
        if values.ndim == 3 and weight.name.startswith(("kernel", "cross", "recurrent")):
            assert len({v.tobytes() for v in values}) == len(values), weight.path


@pytest.mark.parametrize("kind", SHARING)
def test_dropout_acts_in_training_alone(kind):
    layer = build(kind, dropout=0.5)
    once, again, training = layer(INPUTS), layer(INPUTS), layer(INPUTS, training=True)
    for head in HEADS:
        np.testing.assert_array_equal(once[head], again[head])
        assert np.any(once[head] != training[head])


@pytest.mark.parametrize("kind", SHARING)
def test_batch_norm_learns_its_moments_in_training_alone(kind):
    layer = build(kind, normalize="batch")
    moving = [v for v in layer.non_trainable_variables if v.name.startswith("moving")]
    before = [v.numpy().copy() for v in moving]
    layer(INPUTS)
    assert before
    assert all((v.numpy() == old).all() for v, old in zip(moving, before, strict=True))
    layer(INPUTS, training=True)
    assert all((v.numpy() != old).any() for v, old in zip(moving, before, strict=True))


@pytest.mark.parametrize("kind", SHARING)
def test_layer_norm_is_the_same_in_training_and_for_a_row_alone(kind):
    layer = build(kind, normalize="layer")
    together, training = layer(INPUTS), layer(INPUTS, training=True)
    history = INPUTS.sequences["s"]
    one = Inputs(
        INPUTS.flat[:1],
        {name: field[:1] for name, field in FIELDS.items()},
        {"s": History(history.values[:1], history.present[:1])},
    )
    alone = layer(one)
    for head in HEADS:
        np.testing.assert_array_equal(together[head], training[head])
        np.testing.assert_allclose(alone[head], together[head][:1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_l2_is_of_every_kernel(kind):
    layer = build(kind, l2=0.1, **({"orthogonality": 0.0} if kind == "sluice" else {}))
    plain = ("bias", "alpha", "beta")
    kernels = [w for w in layer.trainable_weights if not w.name.startswith(plain)]
    assert sum(float(loss) for loss in layer.losses) == pytest.approx(
        sum(0.1 * np.sum(w.numpy() ** 2) for w in kernels), rel=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_ones_own_is_saved_and_reloaded(kind, tmp_path):
    name, options = KINDS[kind]
    flat, values, present = keras.Input([5]), keras.Input([3, 2]), keras.Input([3], dtype="bool")
    fields = {field: keras.Input([2]) for field in FIELDS}
    needs = kind == "mose" or options.get("expert") in ("fm", "lstm")
    x = Inputs(flat, fields, {"s": History(values, present)}) if needs else flat
    inputs = [flat, *fields.values(), values, present] if needs else flat
    model = keras.Model(inputs, SHARING[name](SMALL[name] | options, HEADS)(x))
    model.save(tmp_path / "sharing.keras")
    again = keras.saving.load_model(tmp_path / "sharing.keras")
    rows = (
        [INPUTS.flat, *(tf.constant(field) for field in (*FIELDS.values(), *INPUTS.sequences["s"]))]
        if needs
        else INPUTS.flat
    )
    out, reloaded = model(rows), again(rows)
    assert list(out) == HEADS
    for head in HEADS:
        np.testing.assert_array_equal(out[head], reloaded[head])
        assert len(np.unique(out[head].numpy().sum(1))) > 4  # it reads its input
    np.testing.assert_array_equal(model.losses, again.losses)


def test_a_second_model_has_the_same_names_of_state():
    models = [
        RankingModel(SPEC, make_model("mmoe", dropout=0.1, normalize="batch"), FITTED, seed=1)
        for _ in range(2)
    ]
    assert list(models[0].state) == list(models[1].state)


@pytest.mark.parametrize(
    ("sharing", "options", "tables"),
    [
        ("single_task", {}, 2),
        ("single_task", {"share_embeddings": True}, 1),
        ("shared_bottom", {}, 1),
        ("mmoe", {}, 1),
        ("ple", {}, 1),
    ],
)
def test_who_has_embeddings_of_its_own(sharing, options, tables):
    model = RankingModel(SPEC, make_model(sharing, **options), FITTED, seed=1)
    assert len(model.embeddings) == tables
    assert len(model.tables) == 2 * tables + 2  # dimensions 2 and 4, and those of the wide part
    starts = [e.tables["4"].variable.numpy() for e in model.embeddings]
    assert all((a != b).all() for a, b in itertools.pairwise(starts))


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        FunnelError, match=r"model.sharing.*name = 'mmoee' is unknown: did you mean 'mmoe'\?"
    ):
        ModelConfig.parse({"sharing": {"name": "mmoee"}}, "model")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"name": "ple", "level": 1},
            r"model\.sharing.*unknown key 'level': did you mean 'levels'\?",
        ),
        ({"name": "mmoe", "levels": 2}, r"model\.sharing.*unknown key 'levels'"),
        (
            {"name": "mmoe", "experts": 1},
            r"model\.sharing\.experts = 1: .*greater than or equal to 2",
        ),
        (
            {"name": "mmoe", "batch_norm": True},
            r"^model\.sharing: batch_norm = true: the option is now normalize; "
            r"write normalize = 'batch' instead$",
        ),
        (
            {"name": "mmoe", "batch_norm": False},
            r"batch_norm = false: .*; write normalize = 'none' instead$",
        ),
        (
            {"name": "mmoe", "normalize": "group"},
            r"^model\.sharing\.normalize = 'group': Input should be 'none', 'batch' or 'layer'$",
        ),
        (
            {"name": "ple", "expert_units": []},
            r"model\.sharing\.expert_units = \[\]: .*at least 1 item",
        ),
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


@pytest.mark.parametrize("name", ["mose", "mmoe", "moe", "ml_mmoe", "cgc", "ple"])
@pytest.mark.parametrize(
    ("features", "sequences", "problem"),
    [
        (
            {"user": FEATURES["user"]},
            [],
            r"reads a sequence, but no feature has kind = 'sequence': declare one",
        ),
        (
            FEATURES,
            ["tags"],
            r"model\.sharing\.sequences names 'tags', which is not a sequence feature \(known: "
            r"recent\)",
        ),
        (
            FEATURES | {"longer": FEATURES["recent"] | {"max_length": 4}},
            [],
            r"reads sequences side by side, but max_length differs \(recent 2, longer 4\): name "
            r"some in `sequences`",
        ),
    ],
)
def test_an_lstm_needs_sequences_of_one_length(name, features, sequences, problem):
    options = {"sequences": sequences} | ({} if name == "mose" else {"expert": "lstm"})
    with pytest.raises(FunnelError, match=problem):
        make_model(name, **options).check(make_spec(features=features))


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ({"name": "mmoe", "expert_units": [8, 4]}, r"expert_units = \[8, 4\], gate_units = \[\]"),
        ({"name": "shared_bottom", "units": [8]}, r"units = \[8\]"),
    ],
)
def test_residual_needs_two_layers_of_one_width(table, shown):
    with pytest.raises(
        FunnelError,
        match=(
            f"residual = true joins layers of one width, but no two neighbors have it in {shown}; "
            "give two the same width"
        ),
    ):
        ModelConfig.parse({"sharing": table | {"residual": True}}, "model")
    funnel = {"name": "independent", "tower_units": {"ctr": [8, 4], "cvr": [4]}, "residual": True}
    with pytest.raises(FunnelError, match=r"tower_units = \{'ctr': \[8, 4\], 'cvr': \[4\]\}"):
        ModelConfig.parse({"funnel": funnel}, "model")
    for units in ([8, 8], {"ctr": [], "cvr": [4, 4]}):
        assert ModelConfig.parse({"funnel": funnel | {"tower_units": units}}).funnel.residual
