"""Rules for embedding tables on paper, and what a table optimizer touches."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from features.errors import FunnelError
from model.embeddings.tables import Table
from model.optimizers import RULES
from model.optimizers.dense import KINDS, make_optimizer, optimizer_state
from model.optimizers.schedules import factor
from model.optimizers.tables import TableOptimizer, add_up
from model.settings.dense import OPTIMIZERS, REFUSED
from model.training.config import TrainConfig


def make(
    name: str,
    start: list,
    begins: dict[str, int] | None = None,
    rates: dict | None = None,
    penalties: dict | None = None,
    batch_size: int = 1,
    **options: float,
):
    table = Table(tf.Variable(start, dtype=tf.float32), begins or {"item": 0})
    rule = RULES[name](RULES[name].Params(name=name, **options))
    return table.variable, TableOptimizer(
        rule, [table], batch_size=batch_size, learning_rates=rates, l2=penalties
    )


def step(
    optimizer: TableOptimizer,
    values: list,
    rows: list,
    rate: float,
    number: int = 1,
    keep: bool | None = None,
) -> None:
    gradient = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows, tf.int64))
    tf.function(
        lambda: optimizer.apply(
            [add_up(gradient)], tf.constant(rate), tf.constant(float(number)), keep
        )
    )()


def slots(optimizer: TableOptimizer) -> dict[str, list]:
    return {name: slot.numpy().tolist() for name, slot in optimizer.slots[0].items()}


def test_occurrences_are_added_up():
    found = add_up(
        tf.IndexedSlices(
            tf.constant([[1.0, 2.0], [4.0, 0.0], [2.0, 5.0]]), tf.constant([2, 0, 2], tf.int64)
        )
    )
    assert dict(zip(found.rows.numpy().tolist(), found.sums.numpy().tolist(), strict=True)) == {
        2: [3.0, 7.0],
        0: [4.0, 0.0],
    }


def test_adagrad():
    table, optimizer = make("adagrad", [[0.0], [5.0]], initial_accumulator=0.1)
    step(optimizer, [[3.0]], [1], rate=0.5)
    # a = 0.1 + 9 = 9.1; w = 5 − 0.5·3 / √9.1 = 4.502755
    np.testing.assert_allclose(slots(optimizer)["accumulator"], [[0.1], [9.1]], rtol=1e-6)
    np.testing.assert_allclose(table, [[0.0], [4.502755]], atol=1e-6)
    step(optimizer, [[2.0]], [1], rate=0.5)
    np.testing.assert_allclose(
        table, [[0.0], [4.502755 - 0.5 * 2 / 13.1**0.5]], atol=1e-6
    )  # a = 9.1 + 4


def test_rowwise_adagrad_keeps_one_number_a_row():
    table, optimizer = make("rowwise_adagrad", [[1.0, 1.0], [0.0, 0.0]], initial_accumulator=0.1)
    step(optimizer, [[3.0, 1.0]], [0], rate=1.0)
    # a = 0.1 + (9 + 1)/2 = 5.1
    np.testing.assert_allclose(slots(optimizer)["accumulator"], [[5.1], [0.1]], rtol=1e-6)
    np.testing.assert_allclose(table, [[1 - 3 / 5.1**0.5, 1 - 1 / 5.1**0.5], [0, 0]], atol=1e-6)


def test_lazy_adam():
    table, optimizer = make("lazy_adam", [[1.0], [7.0]], beta_1=0.5, beta_2=0.75)
    step(optimizer, [[2.0]], [0], rate=0.1, number=1)
    # m = 1, v = 1; rate·√(1 − 0.75)/(1 − 0.5) = 0.1; w = 1 − 0.1·1/√1
    np.testing.assert_allclose(table, [[0.9], [7.0]], atol=1e-6)
    step(optimizer, [[2.0]], [1], rate=0.1, number=2)  # row 0 is absent: its moments stay
    assert slots(optimizer) == {"moments": [[1.0, 1.0], [1.0, 1.0]]}
    # t = 2: 0.1·√(1 − 0.75²)/(1 − 0.5²) = 0.0881917
    np.testing.assert_allclose(table, [[0.9], [7 - 0.0881917]], atol=1e-6)


def test_lazy_adam_is_keras_adam_where_every_row_is_used():
    import keras

    start, gradients = (
        np.array([[1.0, -2.0], [0.5, 3.0]], np.float32),
        np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32),
    )
    table, optimizer = make("lazy_adam", start.tolist())
    dense, adam = keras.Variable(start), keras.optimizers.Adam(0.01)
    for number, g in enumerate(gradients, 1):
        step(optimizer, g.tolist(), [0, 1], rate=0.01, number=number)
        adam.apply([tf.constant(g)], [dense])
    np.testing.assert_allclose(table, dense, atol=1e-6)


def test_a_rule_with_constants_takes_the_sum_over_the_batch():
    table, optimizer = make("adagrad", [[0.0], [5.0]], batch_size=4, initial_accumulator=7.0)
    step(optimizer, [[0.75]], [1], rate=0.5)
    # g = 4·0.75 = 3, a = 7 + 9 = 16, w = 5 − 0.5·3/4
    np.testing.assert_allclose(table, [[0.0], [4.625]], atol=1e-6)


def test_sgd_takes_the_mean_over_the_batch():
    table, optimizer = make("sgd", [[5.0]], batch_size=4)
    step(optimizer, [[0.75]], [0], rate=0.5)
    np.testing.assert_allclose(table, [[4.625]])  # 5 − 0.5·0.75


@pytest.mark.parametrize(
    ("name", "epsilon"),
    [("adagrad", 0.25), ("rowwise_adagrad", 0.25), ("lazy_adam", 0.25), ("ftrl", None)],
)
def test_a_row_that_is_read_once_a_batch_moves_alike_at_every_batch_size(name, epsilon):
    """Four steps of B = 8, or of B = 512: the mean's gradient of a rare row is 64 times as small,
    its movement the same.
    """
    moved = []
    for batch_size in (8, 512):
        table, optimizer = make(
            name, [[1.0, -2.0]], batch_size=batch_size, **({"epsilon": epsilon} if epsilon else {})
        )
        for number, g in enumerate([[0.5, 1.0], [-0.25, 2.0], [1.5, 0.125], [0.75, -1.0]], 1):
            step(optimizer, [[x / batch_size for x in g]], [0], rate=0.1, number=number)
        moved.append(table.numpy())
    assert abs(moved[0] - [[1.0, -2.0]]).min() > 0.01
    np.testing.assert_allclose(*moved, rtol=1e-6)


def test_adagrad_of_a_peer_that_takes_means_has_an_accumulator_of_its_own():
    """Keras' Adagrad over the mean of B = 64 rows: initial_accumulator / B²."""
    table, optimizer = make(
        "adagrad", [[1.0, -2.0]], batch_size=64, initial_accumulator=1.0, epsilon=0.0
    )
    dense = keras.Variable([[1.0, -2.0]])
    peer = keras.optimizers.Adagrad(0.3, initial_accumulator_value=1.0 / 64**2, epsilon=0.0)
    for g in ([[0.5, 1.0]], [[-0.25, 2.0]], [[1.5, 0.125]]):
        mean = np.array(g, np.float32) / 64
        step(optimizer, mean.tolist(), [0], rate=0.3)
        peer.apply([tf.constant(mean)], [dense])
    np.testing.assert_allclose(table, dense, rtol=1e-5)


def test_ftrl():
    table, optimizer = make("ftrl", [[0.5], [0.0]], initial_accumulator=1.0, l1=0.25, l2=0.5)
    step(optimizer, [[3.0**0.5]], [0], rate=1.0)
    # n: 1 → 4; z = √3 − (2 − 1)·0.5 = 1.2320508; w = (0.25 − z)/(2 + 2·0.5) = −0.3273503
    np.testing.assert_allclose(slots(optimizer)["linear"], [[1.2320508], [0.0]], atol=1e-6)
    np.testing.assert_allclose(table, [[-0.3273503], [0.0]], atol=1e-6)


def test_ftrl_sets_small_rows_to_zero():
    table, optimizer = make("ftrl", [[0.0]], initial_accumulator=1.0, l1=2.0)
    step(optimizer, [[1.5]], [0], rate=1.0)  # |z| = 1.5 ≤ 2
    assert table.numpy().tolist() == [[0.0]]


def test_ftrl_is_keras_ftrl_where_every_row_is_used():
    import keras

    start, gradients = (
        np.array([[1.0], [-2.0]], np.float32),
        np.random.default_rng(1).normal(size=(5, 2, 1)).astype(np.float32),
    )
    table, optimizer = make("ftrl", start.tolist(), l1=0.1, l2=0.2, beta=0.3)
    options = {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.2, "beta": 0.3}
    dense, ftrl = keras.Variable(start), keras.optimizers.Ftrl(0.5, **options)
    for g in gradients:
        step(optimizer, g.tolist(), [0, 1], rate=0.5)
        ftrl.apply([tf.constant(g)], [dense])
    np.testing.assert_allclose(table, dense, atol=1e-5)


def test_sgd():
    table, optimizer = make("sgd", [[1.0], [2.0]])
    step(optimizer, [[3.0], [1.0]], [1, 1], rate=0.5)
    assert table.numpy().tolist() == [[1.0], [0.0]]  # 2 − 0.5·(3 + 1)


def test_a_feature_has_a_rate_and_an_l2_of_its_own():
    table, optimizer = make(
        "sgd", [[1.0]] * 4, begins={"a": 0, "b": 2}, rates={"b": 3.0}, penalties={"a": 0.25}
    )
    step(optimizer, [[1.0], [1.0]], [1, 2], rate=0.5)
    # row 1, of a: g = 1 + 2·0.25·1 = 1.5, w = 1 − 0.75; row 2, of b: 1 − 3·0.5·1; rows 0 and 3 are
    # not used
    np.testing.assert_allclose(table, [[1.0], [0.25], [-0.5], [1.0]])


@pytest.mark.parametrize("name", RULES)
def test_other_rows_keep_every_bit_and_the_batch_may_be_refused(name):
    start = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    table, optimizer = make(name, start.tolist())
    before = {slot: np.array(values) for slot, values in slots(optimizer).items()}
    step(optimizer, np.ones([3, 3]).tolist(), [7, 99, 7], rate=0.1, keep=False)
    assert table.numpy().tobytes() == start.tobytes()
    step(optimizer, np.ones([3, 3]).tolist(), [7, 99, 7], rate=0.1, keep=True)
    others = np.setdiff1d(np.arange(100), [7, 99])
    assert table.numpy()[others].tobytes() == start[others].tobytes()
    assert (table.numpy()[[7, 99]] != start[[7, 99]]).all()
    for slot, values in slots(optimizer).items():
        np.testing.assert_array_equal(np.array(values)[others], before[slot][others])


def test_slots_of_rowwise_adagrad_are_a_part_in_dim_of_the_table():
    _, optimizer = make("rowwise_adagrad", np.zeros([50, 16]).tolist())
    assert [tuple(slot.shape) for slot in optimizer.slots[0].values()] == [(50, 1)]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            {"embedding_optimizer": "adam"},
            r"train\.embedding_optimizer = 'adam': name = 'adam' is unknown.*lazy_adam",
        ),
        ({"embedding_optimizer": {"name": "sgd", "beta": 1}}, "unknown key 'beta'"),
        ({"optimizer": "adan"}, "name = 'adan' is unknown: did you mean 'adam'"),
        (
            {"optimizer": {"name": "adam", "beta_3": 0.1}},
            "keras.optimizers.Adam has no option 'beta_3': did you mean 'beta_[12]'",
        ),
        (
            {"optimizer": {"name": "adam", "learning_rate": 0.1}},
            "learning_rate = 0.1 is not an option here, .* train.schedule decide it: give",
        ),
        (
            {"optimizer": {"name": "sgd", "clipnorm": 1.0}},
            "clipnorm = 1.0 is not an option here, since train.clip_norm bounds",
        ),
        (
            {"optimizer": {"name": "adam", "use_ema": True}},
            "use_ema = True is not an option here, .* nor exported: remove it",
        ),
        (
            {"optimizer": {"name": "adam", "ema_momentum": 0.9}},
            "ema_momentum = 0.9 is not an option here",
        ),
        (
            {"optimizer": {"name": "lion", "ema_overwrite_frequency": 9}},
            "ema_overwrite_frequency = 9 is not an option here",
        ),
        (
            {"optimizer": {"name": "adam", "loss_scale_factor": 8.0}},
            "loss_scale_factor = 8.0 .* 'float16' scales losses by itself",
        ),
        (
            {"optimizer": {"name": "adam", "gradient_accumulation_steps": 4}},
            "= 4 is not an option here.* larger train.batch_size",
        ),
        ({"optimizer": {"name": "adam", "args": 1}}, "keras.optimizers.Adam has no option 'args'"),
        (
            {"optimizer": {"name": "sgd", "nesterov": True}},
            "nesterov = True changes nothing where momentum is 0: give momentum",
        ),
        (
            {"optimizer": {"name": "ftrl", "weight_decay": 0.1}},
            "weight_decay = 0.1 does not make FTRL's .* l2_regularization_strength",
        ),
        (
            {"schedule": {"name": "exponential", "decay_rate": 2, "decay_steps": 5}},
            r"train\.schedule\.decay_rate = 2",
        ),
        ({"schedule": "linear"}, r"train\.schedule"),
    ],
)
def test_wrong_options_are_named(train, said):
    with pytest.raises(FunnelError, match=said):
        TrainConfig.parse(train, "train")


def moved(name, options, gradients):
    """The weights (1, −2) after steps with these gradients at the rate 0.1."""
    optimizer, weight = (
        make_optimizer(TrainConfig.parse({"optimizer": {"name": name} | options}).optimizer),
        keras.Variable([1.0, -2.0]),
    )
    optimizer.learning_rate = 0.1
    optimizer.build([weight])
    for g in gradients:
        optimizer.apply([tf.constant(g)], [weight])
    return weight.numpy()


@pytest.mark.parametrize("name", KINDS)
def test_the_options_are_those_of_keras(name):
    signature = inspect.signature(KINDS[name].__init__).parameters
    known = {
        option: parameter.default
        for option, parameter in signature.items()
        if option not in (*REFUSED, "self", "name", "kwargs")
    }
    fields = OPTIMIZERS[name].model_fields
    assert {option: field.default for option, field in fields.items()} == known


@pytest.mark.parametrize(
    ("name", "option", "bound", "beyond"),
    [
        ("sgd", "momentum", 1.0, 1.1),
        ("sgd", "momentum", 0.0, -0.1),
        ("lion", "beta_1", 1.0, 1.1),
        ("lion", "beta_1", 0.1, 0.0),
        ("ftrl", "learning_rate_power", 0.0, 0.1),
        ("ftrl", "initial_accumulator_value", 0.0, -0.1),
        ("ftrl", "l1_regularization_strength", 0.0, -0.1),
        ("ftrl", "l2_regularization_strength", 0.0, -0.1),
        ("ftrl", "l2_shrinkage_regularization_strength", 0.0, -0.1),
    ],
)
def test_the_bounds_are_those_of_keras(name, option, bound, beyond):
    TrainConfig.parse({"optimizer": {"name": name, option: bound}})
    KINDS[name](**{option: bound})
    with pytest.raises(FunnelError, match=rf"^train\.optimizer\.{option} = {beyond}: "):
        TrainConfig.parse({"optimizer": {"name": name, option: beyond}}, "train")
    with pytest.raises(ValueError, match=r"must be|needs to be"):
        KINDS[name](**{option: beyond})


def test_a_whole_number_is_a_momentum():
    assert moved("sgd", {"momentum": 1}, [[1.0, 0.5]] * 2).tolist() == pytest.approx([0.7, -2.15])


NEEDS = {"nesterov": {"momentum": 0.5}}
OTHER = {
    "learning_rate_power": -0.25,
    "beta_1": 0.25,
    "beta_2": 0.25,
}  # 0.5, unless an option is a choice
EVERY_OPTION = [
    (name, o)
    for name, options in OPTIMIZERS.items()
    for o in options.model_fields
    if (name, o) != ("ftrl", "weight_decay")
]


@pytest.mark.parametrize(("name", "option"), EVERY_OPTION)
def test_every_option_that_is_taken_changes_the_weights(name, option):
    default = inspect.signature(KINDS[name].__init__).parameters[option].default
    more, value = (
        NEEDS.get(option, {}),
        not default if isinstance(default, bool) else OTHER.get(option, 0.5),
    )
    gradients = [[1.0, 0.5], [-3.0, 0.5], [0.2, -0.1], [0.4, -0.01]]
    assert (moved(name, more | {option: value}, gradients) != moved(name, more, gradients)).any()


@pytest.mark.parametrize("name", [name for name in KINDS if name != "ftrl"])
def test_weight_decay_makes_weights_decay(name):
    # (1 − 0.1 · 0.5)² of (1, −2), the gradients being 0
    np.testing.assert_allclose(
        moved(name, {"weight_decay": 0.5}, [[0.0, 0.0]] * 2), [0.9025, -1.805], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ({}, {0: 1, 99: 1}),
        ({"warm_up_steps": 4}, {0: 0.25, 2: 0.75, 3: 1, 50: 1}),
        (
            {"name": "exponential", "decay_rate": 0.5, "decay_steps": 10},
            {0: 1, 5: 0.5**0.5, 10: 0.5, 20: 0.25},
        ),
        (
            {"name": "exponential", "decay_rate": 0.5, "decay_steps": 10, "staircase": True},
            {9: 1, 10: 0.5, 19: 0.5},
        ),
        (
            {"name": "cosine", "decay_steps": 8, "alpha": 0.2},
            {0: 1, 4: 0.6, 8: 0.2, 30: 0.2},
        ),  # 0.2 + 0.8·½(1 + cos π/2) = 0.6
        ({"name": "cosine", "decay_steps": 8, "warm_up_steps": 2}, {0: 0.5, 8: 0}),
    ],
)
def test_schedules(schedule, factors):
    found = TrainConfig.parse({"schedule": schedule}).schedule
    for at, expected in factors.items():
        assert float(factor(found, tf.constant(at, tf.int64))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_the_second_optimizer_of_a_process_keeps_its_state_under_the_same_names(name):
    def names() -> list[str]:
        optimizer, weight = (
            make_optimizer(TrainConfig.parse({"optimizer": name}).optimizer),
            keras.Variable([[1.0, 2.0]], name="kernel"),
        )
        optimizer.build([weight])
        return list(optimizer_state(optimizer))

    first = names()
    assert names() == first
    assert all(known.startswith(f"{name}/") for known in first)
