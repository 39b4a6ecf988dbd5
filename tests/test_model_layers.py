"""The blocks of every architecture: numbers on paper, what each option does, a saved and reloaded
model.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.layers import (
    MLP,
    CrossExperts,
    CrossStitch,
    Experts,
    FMExperts,
    Gate,
    LayerMixture,
    LSTMExperts,
    Orthogonal,
    Transfer,
)

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(8, 4)).astype(np.float32)
OPTIONS = [
    {},
    {"activation": "gelu"},
    {"normalize": "batch"},
    {"normalize": "layer"},
    {"residual": True},
    {"l2": 0.1},
    {"normalize": "batch", "residual": True},
    {"normalize": "layer", "residual": True},
]


def test_mlp_golden():
    layer = MLP([2, 1])
    layer(tf.zeros([1, 2]))
    layer.set_weights(
        [
            np.array([[1.0, -1.0], [2.0, 0.0]]),
            np.array([0.0, 1.0]),
            np.array([[3.0], [5.0]]),
            np.array([-1.0]),
        ]
    )
    # x = (1, 2): relu(1 + 4, −1 + 1) = (5, 0); 3·5 + 5·0 − 1 = 14. x = (−3, 1): relu(−1, 4) = (0,
    # 4); 0 + 20 − 1 = 19
    np.testing.assert_array_equal(layer(tf.constant([[1.0, 2.0], [-3.0, 1.0]])), [[14.0], [19.0]])


def test_mlp_without_units_is_the_identity():
    np.testing.assert_array_equal(MLP([])(tf.constant([[1.0, -2.0]])), [[1.0, -2.0]])


def test_residual_golden():
    layer = MLP([1, 1, 2], residual=True)
    layer(tf.zeros([1, 1]))
    layer.set_weights([np.array(w, float) for w in ([[2]], [0], [[3]], [1], [[1, -1]], [0, 0])])
    # x = 1: relu(2·1) = 2, to which a first layer adds nothing; relu(3·2 + 1) + 2 = 9; relu(9, −9),
    # which is wider
    np.testing.assert_array_equal(layer(tf.constant([[1.0]])), [[9.0, 0.0]])


def test_activation_golden():
    layer = MLP([1], activation="leaky_relu")
    layer(tf.zeros([1, 1]))
    layer.set_weights([np.array([[1.0]]), np.array([0.0])])
    np.testing.assert_allclose(layer(tf.constant([[-5.0]])), [[-1.0]], rtol=1e-6)  # 0.2 · −5


def test_batch_norm_golden():
    layer = MLP([1], activation="linear", normalize="batch")
    layer(tf.zeros([1, 1]))
    layer.dense[0].set_weights([np.array([[2.0]])])
    # h = (2, 6): mean 4, variance 4; (2 − 4) / √(4 + ε) = −1
    np.testing.assert_allclose(
        layer(tf.constant([[1.0], [3.0]]), training=True), [[-1.0], [1.0]], atol=2e-4
    )
    norm = layer.norms[0]
    np.testing.assert_allclose(norm.moving_mean, [0.99 * 0 + 0.01 * 4], rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, [0.99 * 1 + 0.01 * 4], rtol=1e-6)
    # Outside of training: (2 − 0.04) / √1.03
    np.testing.assert_allclose(layer(tf.constant([[1.0]])), [[1.96 / np.sqrt(1.03)]], rtol=1e-3)


def test_layer_norm_golden():
    layer = MLP([2], activation="linear", normalize="layer")
    layer(tf.zeros([1, 1]))
    layer.dense[0].set_weights([np.array([[2.0, 6.0]])])
    layer.norms[0].set_weights([np.array([1.0, 3.0]), np.array([0.0, 10.0])])
    # h = (2, 6): mean 4, variance 4; γ (2 − 4) / √(4 + ε) + β = −1 and 3·1 + 10. The row h = (4,
    # 12) has mean 8 and variance 16: the same, in training too
    for training in (False, True):
        found = layer(tf.constant([[1.0], [2.0]]), training=training)
        np.testing.assert_allclose(found, [[-1.0, 13.0], [-1.0, 13.0]], atol=1e-3)


def test_layer_norm_of_experts_is_over_each_ones_own_units_golden():
    layer = Experts(2, [2], activation="linear", normalize="layer")
    layer(tf.zeros([1, 1]))
    kernel, gamma = np.array([[2.0, 6.0, 100.0, 120.0]]), np.array([1.0, 3.0, 1.0, 5.0])
    layer.set_weights([kernel, gamma, np.array([0.0, 10.0, 0.0, -1.0])])
    # (2, 6) as above; (100, 120): mean 110, variance 100; (−1, 5·1 − 1)
    found = layer(tf.constant([[1.0]]))
    np.testing.assert_allclose(found, [[[-1.0, 13.0], [-1.0, 4.0]]], atol=1e-3)


def test_an_unknown_normalization_is_refused():
    with pytest.raises(
        ValueError, match="normalize = 'group' is unknown: choose one of none, batch, layer"
    ):
        MLP([2], normalize="group")


def test_dropout_acts_in_training_alone():
    layer = MLP([1000], activation="linear", dropout=0.25)
    layer(tf.zeros([1, 1]))
    layer.set_weights([np.ones([1, 1000]), np.zeros(1000)])
    np.testing.assert_array_equal(layer(tf.ones([1, 1])), np.ones([1, 1000]))
    dropped = layer(tf.ones([1, 1]), training=True).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - 0.25)], rtol=1e-6)
    assert 0.15 < (dropped == 0).mean() < 0.35


def test_l2_golden():
    layer = MLP([1], l2=0.5)
    layer(tf.zeros([1, 2]))
    layer.set_weights([np.array([[1.0], [3.0]]), np.array([7.0])])
    assert [float(loss) for loss in layer.losses] == [0.5 * (1 + 9)]  # not of the bias


def test_experts_golden():
    layer = Experts(2, [1, 1])
    layer(tf.zeros([1, 2]))
    layer.set_weights(
        [
            np.array([[1.0, 2.0], [1.0, -1.0]]),
            np.array([0.0, 1.0]),
            np.array([[[3.0]], [[4.0]]]),
            np.array([[[1.0]], [[-2.0]]]),
        ]
    )
    # x = (1, 2): expert 1: relu(1 + 2) = 3, 3·3 + 1 = 10; expert 2: relu(2 − 2 + 1) = 1, 4·1 − 2 =
    # 2
    np.testing.assert_array_equal(layer(tf.constant([[1.0, 2.0]])), [[[10.0], [2.0]]])


def test_experts_with_inputs_of_their_own_golden():
    layer = Experts(2, [1])
    layer(tf.zeros([1, 2, 1]))
    layer.set_weights([np.array([[[3.0]], [[4.0]]]), np.array([[[1.0]], [[-2.0]]])])
    np.testing.assert_array_equal(
        layer(tf.constant([[[2.0], [5.0]]])), [[[7.0], [18.0]]]
    )  # 3·2 + 1; 4·5 − 2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("units", [[4], [3, 3], [4, 3, 3]], ids=str)
@pytest.mark.parametrize("own_inputs", [False, True])
def test_experts_equal_separate_ones(units, options, own_inputs):
    x = np.stack([ROWS, ROWS * 2, ROWS + 1], 1) if own_inputs else ROWS
    layer = Experts(3, units, **options)
    layer(x)
    layer.set_weights(
        [np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.weights)]
    )
    together = layer(x, training=True).numpy()  # with the moments of the batch
    assert together.shape == (8, 3, units[-1])
    for n in range(3):
        alone, read = MLP(units, **options), x[:, n] if own_inputs else x
        alone(read)
        for level, dense in enumerate(alone.dense):
            kernel, own = (
                layer.kernels[level].numpy(),
                slice(n * units[level], (n + 1) * units[level]),
            )
            dense.kernel.assign(kernel[:, own] if kernel.ndim == 2 else kernel[n])
            if not alone.norms:
                dense.bias.assign(layer.biases[level].numpy().reshape(-1)[own])
            for name in ("gamma", "beta") if alone.norms else ():
                getattr(alone.norms[level], name).assign(
                    getattr(layer.norms[level], name).numpy()[own]
                )
        np.testing.assert_allclose(together[:, n], alone(read, training=True), rtol=2e-4, atol=2e-5)


def test_experts_differ_at_the_start_each_by_its_own_fan():
    layer = Experts(4, [8, 8])
    layer(tf.zeros([1, 8]))
    for kernels in (np.split(layer.kernels[0].numpy(), 4, axis=1), list(layer.kernels[1].numpy())):
        assert len({k.tobytes() for k in kernels}) == 4
        for kernel in kernels:
            # Glorot: uniform in ±√(6 / (8 + 8)) = ±0.612; over all four joined it would be ±√(6 /
            # 40) = ±0.387
            assert 0.45 < np.abs(kernel).max() <= np.sqrt(6 / 16)


def test_what_is_between_layers_is_read_above_and_returned():
    layer, seen = Experts(2, [1, 1]), []
    layer(tf.zeros([1, 1]))
    layer.set_weights(
        [np.array([[1.0, 2.0]]), np.zeros(2), np.ones([2, 1, 1]), np.zeros([2, 1, 1])]
    )

    def reverse(number, h):
        seen.append((number, h.numpy().ravel().tolist()))
        return h[:, ::-1]

    np.testing.assert_array_equal(layer(tf.constant([[3.0]]), between=reverse), [[[3.0], [6.0]]])
    assert seen == [(0, [3.0, 6.0]), (1, [6.0, 3.0])]


def test_gate_golden_and_sums_to_one():
    gate, experts = Gate(2), tf.constant([[[1.0, 10.0], [5.0, 30.0]]])
    gate(tf.ones([1, 2]), experts)
    gate.set_weights([np.array([[0.0, np.log(3.0)], [0.0, 0.0]])])
    # softmax(0, ln 3) = (1/4, 3/4): 1/4·1 + 3/4·5 = 4, 1/4·10 + 3/4·30 = 25
    mixture, weights = gate(tf.constant([[1.0, 7.0]]), experts)
    np.testing.assert_allclose(weights, [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(mixture, [[4.0, 25.0]], rtol=1e-6)
    _, many = gate(tf.random.stateless_normal([50, 2], [1, 2]) * 10, tf.zeros([50, 2, 1]))
    np.testing.assert_allclose(tf.reduce_sum(many, 1), np.ones(50), rtol=1e-6)


def test_gate_with_hidden_units_golden():
    gate, experts = Gate(2, [1]), tf.constant([[[1.0], [5.0]]])
    gate(tf.ones([1, 1]), experts)
    gate.set_weights([np.array([[-1.0]]), np.array([3.0]), np.array([[0.0, np.log(3.0)]])])
    np.testing.assert_allclose(
        gate(tf.constant([[2.0]]), experts)[1], [[0.25, 0.75]], rtol=1e-6
    )  # relu(−2 + 3) = 1
    np.testing.assert_allclose(
        gate(tf.constant([[9.0]]), experts)[1], [[0.5, 0.5]], rtol=1e-6
    )  # relu(−9 + 3) = 0


def blocks(x, sequence, present, fields):
    """Every block once in one functional model."""
    wide = MLP([4, 4], normalize="batch", residual=True, dropout=0.1, l2=0.01, name="mlp")(x)
    penalty = Orthogonal(0.1, count=3, subspaces=2)
    experts = [
        Experts(3, [4, 2], kernel_regularizer=penalty, normalize="layer", name="experts")(wide),
        CrossExperts(3, [2], cross_layers=3, name="cross")(wide),
        FMExperts(3, [2], name="fm")(x, fields),
        LSTMExperts(3, [2], lstm_units=3, name="lstm")(x, sequence, present),
        CrossStitch(per_unit=True, name="stitch")(
            LSTMExperts(3, [], lstm_units=2, name="states")(x, sequence, present)
        ),
    ]
    y, weights = Gate(15, [4], name="gate")(x, keras.ops.concatenate(experts, 1))
    layers = LSTMExperts(3, [], lstm_units=2, every_step=True, name="steps")(x, sequence, present)
    return y, weights, LayerMixture(name="mixture")(layers), Transfer(name="transfer")(wide, x)


def test_a_saved_model_reloads_with_equal_outputs(tmp_path):
    x, sequence, present = keras.Input([4]), keras.Input([5, 3]), keras.Input([5], dtype="bool")
    fields = [keras.Input([2, 3]), keras.Input([4, 2])]
    model = keras.Model([x, sequence, present, *fields], blocks(x, sequence, present, fields))
    model.save(tmp_path / "blocks.keras")
    again = keras.saving.load_model(tmp_path / "blocks.keras")
    rows = [RNG.normal(size=(7, *i.shape[1:])).astype(np.float32) for i in model.inputs]
    rows[2] = rows[2] > 0
    for one, other in zip(model(rows), again(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.losses, again.losses)
    assert len(model.losses) == 4  # of two kernels with an L2 and two with the penalty


@pytest.mark.parametrize(
    "layer",
    [
        MLP([3, 2], normalize="layer", name="a"),
        Experts(2, [3, 2], kernel_regularizer=Orthogonal(0.1, 2, 2), name="b"),
        Gate(3, [2], activation="elu", name="c"),
        CrossExperts(2, [3], cross_layers=3, name="d"),
        FMExperts(2, [3], dropout=0.5, name="e"),
        LSTMExperts(2, [3], lstm_units=5, name="f"),
        CrossStitch(own_share=0.7, per_unit=True, name="g"),
        LayerMixture(last_share=0.6, name="h"),
        Transfer(name="i"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_layer_is_made_again_from_its_config(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
