"""The blocks of every architecture: numbers on paper, experts one by one, a saved and reloaded model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.layers import MLP, Experts, Gate


def test_mlp_golden():
    layer = MLP([2, 1])
    layer(tf.zeros([1, 2]))
    layer.set_weights([np.array([[1.0, -1.0], [2.0, 0.0]]), np.array([0.0, 1.0]), np.array([[3.0], [5.0]]), np.array([-1.0])])
    # x = (1, 2): relu(1 + 4, −1 + 1) = (5, 0); 3·5 + 5·0 − 1 = 14. x = (−3, 1): relu(−1, 4) = (0, 4); 0 + 20 − 1 = 19
    np.testing.assert_array_equal(layer(tf.constant([[1.0, 2.0], [-3.0, 1.0]])), [[14.0], [19.0]])


def test_mlp_without_units_is_the_identity():
    np.testing.assert_array_equal(MLP([])(tf.constant([[1.0, -2.0]])), [[1.0, -2.0]])


def test_experts_golden():
    layer = Experts(2, [1, 1])
    layer(tf.zeros([1, 2]))
    layer.set_weights(
        [np.array([[1.0, 2.0], [1.0, -1.0]]), np.array([0.0, 1.0]), np.array([[[3.0]], [[4.0]]]), np.array([[[1.0]], [[-2.0]]])]
    )
    # x = (1, 2): expert 1: relu(1 + 2) = 3, 3·3 + 1 = 10; expert 2: relu(2 − 2 + 1) = 1, 4·1 − 2 = 2
    np.testing.assert_array_equal(layer(tf.constant([[1.0, 2.0]])), [[[10.0], [2.0]]])


@pytest.mark.parametrize("units", [[4], [4, 3], [4, 3, 2]])
def test_experts_equal_separate_ones(units):
    layer, x = Experts(3, units), np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    layer(x)
    layer.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.weights)])
    together = layer(x).numpy()
    assert together.shape == (5, 3, units[-1])
    for n in range(3):
        own = slice(n * units[0], (n + 1) * units[0])
        h = np.maximum(x @ layer.kernels[0].numpy()[:, own] + layer.biases[0].numpy()[own], 0)
        for kernel, bias in zip(layer.kernels[1:], layer.biases[1:], strict=True):
            h = np.maximum(h @ kernel.numpy()[n] + bias.numpy()[n], 0)
        np.testing.assert_allclose(together[:, n], h, rtol=1e-5, atol=1e-5)


def test_experts_differ_at_the_start_each_by_its_own_fan():
    layer = Experts(4, [8, 8])
    layer(tf.zeros([1, 8]))
    for kernels in (np.split(layer.kernels[0].numpy(), 4, axis=1), list(layer.kernels[1].numpy())):
        assert len({k.tobytes() for k in kernels}) == 4
        for kernel in kernels:
            # Glorot: uniform in ±√(6 / (8 + 8)) = ±0.612; over all four joined it would be ±√(6 / 40) = ±0.387
            assert 0.45 < np.abs(kernel).max() <= np.sqrt(6 / 16)


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


def test_a_saved_model_reloads_with_equal_outputs(tmp_path):
    x = keras.Input([5])
    hidden = MLP([4], name="mlp")(x)
    y, _ = Gate(3, name="gate")(hidden, Experts(3, [4, 2], name="experts")(hidden))
    model = keras.Model(x, y)
    model.save(tmp_path / "blocks.keras")
    again, rows = keras.saving.load_model(tmp_path / "blocks.keras"), np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_array_equal(model(rows), again(rows))


@pytest.mark.parametrize("layer", [MLP([3, 2], name="a"), Experts(2, [3, 2], name="b"), Gate(3, name="c")], ids=lambda x: type(x).__name__)
def test_a_layer_is_made_again_from_its_config(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
