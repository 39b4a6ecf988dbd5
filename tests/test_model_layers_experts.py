"""Experts of other kinds than MLPs, and the layers that mix networks: numbers on paper, and the
same computed apart.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.layers import (
    CrossExperts,
    CrossStitch,
    FMExperts,
    LayerMixture,
    LSTMExperts,
    Orthogonal,
    Transfer,
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4)).astype(np.float32)
SEQUENCE = RNG.normal(size=(6, 5, 3)).astype(np.float32)
PRESENT = np.array(
    [
        [0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 0, 1, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [1, 1, 1, 0, 0],
    ],
    bool,
)


def draw(layer):
    """Gives every weight another value than its initial one."""
    layer.set_weights(
        [np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.weights)]
    )
    return layer


def test_cross_golden():
    layer = CrossExperts(1, [1], cross_layers=2)
    layer(tf.zeros([1, 2]))
    identity = np.ones([1, 2, 1])
    layer.set_weights(
        [
            np.array([[1.0, 0], [1, 0]]),
            np.array([[[0.0, 1.0]]]),
            np.eye(2)[None],
            np.zeros([1, 1, 2]),
            identity,
            np.zeros([1, 1, 1]),
        ]
    )
    # x0 = (1, 2). W0 x0 + b0 = (1 + 2, 0 + 1) = (3, 1); x1 = x0 ⊙ (3, 1) + x0 = (4, 4); x2 = x0 ⊙
    # (4, 4) + (4, 4) = (8, 12); 8 + 12
    np.testing.assert_array_equal(layer(tf.constant([[1.0, 2.0]])), [[[20.0]]])


@pytest.mark.parametrize("layers", [1, 3])
def test_cross_experts_with_one_input_equal_those_with_inputs_of_their_own(layers):
    one, many = (
        CrossExperts(3, [5, 2], cross_layers=layers),
        CrossExperts(3, [5, 2], cross_layers=layers),
    )
    one(X), many(np.stack([X] * 3, 1))
    draw(one)
    many.set_weights([np.stack(np.split(w, 3, 1)) if w.ndim == 2 else w for w in one.get_weights()])
    np.testing.assert_allclose(one(X), many(np.stack([X] * 3, 1)), rtol=1e-4, atol=1e-4)


def test_fm_golden():
    layer, fields = (
        FMExperts(1, [1], activation="linear"),
        [tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])],
    )
    layer(tf.zeros([1, 2]), fields)
    layer.first_order.assign([[1.0], [10.0]])
    layer.second_order.assign([[1.0], [1.0]])
    layer.deep.set_weights([np.array([[2.0], [0.0]]), np.array([100.0])])
    # first order 1·1 + 10·2 = 21; pairs 1·3 + 2·4 + 1·5 + 2·6 + 3·5 + 4·6 = 67; deep 2·1 + 100
    np.testing.assert_allclose(
        layer(tf.constant([[1.0, 2.0]]), fields), [[[21.0 + 67 + 102]]], rtol=1e-6
    )


def test_fm_experts_equal_separate_ones():
    fields = [
        RNG.normal(size=(6, 3, 2)).astype(np.float32),
        RNG.normal(size=(6, 2, 5)).astype(np.float32),
    ]
    together = FMExperts(2, [3])
    together(X, fields)
    draw(together)
    for n in range(2):
        alone, own = FMExperts(1, [3]), slice(3 * n, 3 * n + 3)
        alone(X, fields)
        alone.set_weights([w[..., own] for w in together.get_weights()])
        np.testing.assert_allclose(
            together(X, fields)[:, n], alone(X, fields)[:, 0], rtol=1e-4, atol=1e-5
        )


def test_lstm_golden():
    layer = LSTMExperts(1, [], lstm_units=1)
    x, sequence = (
        tf.zeros([1, 1]),
        tf.constant([[[np.arctanh(0.5)], [9.0], [np.arctanh(0.25)]]], tf.float32),
    )
    layer(x, sequence, tf.ones([1, 3], tf.bool))
    layer.set_weights(
        [np.array([[0.0, 0, 1, 0]]), np.zeros([1, 1, 4]), np.array([[[99.0, 99, 0, 99]]])]
    )
    # All gates open, g = s: c = 1/2, the absent step leaves it, 1/2 + 1/4
    np.testing.assert_allclose(
        layer(x, sequence, tf.constant([[True, False, True]])), [[[np.tanh(0.75)]]], rtol=1e-6
    )


def test_lstm_followed_by_an_mlp_golden():
    layer = LSTMExperts(1, [1], lstm_units=1)
    x, sequence, present = tf.constant([[5.0]]), tf.zeros([1, 1, 1]), tf.ones([1, 1], tf.bool)
    layer(x, sequence, present)
    layer.bias.assign([[[99.0, 0, np.arctanh(0.5), 99.0]]])
    layer.deep.set_weights([np.array([[[2.0], [3.0]]]), np.array([[[1.0]]])])
    np.testing.assert_allclose(
        layer(x, sequence, present), [[[2 * np.tanh(0.5) + 3 * 5 + 1]]], rtol=1e-6
    )  # h first, then x


@pytest.mark.parametrize("own_inputs", [False, True])
def test_lstms_equal_those_of_keras_one_by_one(own_inputs):
    sequence = np.stack([SEQUENCE, 2 * SEQUENCE], 1) if own_inputs else SEQUENCE
    layer = LSTMExperts(2, [], lstm_units=4, every_step=True)
    layer(X, sequence, PRESENT)
    draw(layer)
    states = layer(X, sequence, PRESENT)  # [B, n, T, U]
    for n in range(2):
        alone, read = (
            keras.layers.LSTM(4, return_sequences=True, use_cudnn=False),
            sequence[:, n] if own_inputs else sequence,
        )
        alone.build(read.shape)
        kernel = layer.kernel.numpy()
        alone.set_weights(
            [
                kernel[n] if own_inputs else np.split(kernel, 2, 1)[n],
                layer.recurrent.numpy()[n],
                layer.bias.numpy()[n, 0],
            ]
        )
        np.testing.assert_allclose(states[:, n], alone(read, mask=PRESENT), rtol=1e-5, atol=1e-6)


def test_lstms_start_as_those_of_keras_each_with_its_own_draw():
    layer = LSTMExperts(3, [], lstm_units=4)
    layer(X, SEQUENCE, PRESENT)
    np.testing.assert_array_equal(
        layer.bias, np.broadcast_to([0] * 4 + [1] * 4 + [0] * 8, [3, 1, 16])
    )
    for kernel, recurrent in zip(
        np.split(layer.kernel.numpy(), 3, 1), layer.recurrent.numpy(), strict=True
    ):
        assert 0.5 < np.abs(kernel).max() <= np.sqrt(6 / (3 + 16))  # Glorot's bound, .56
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(4), atol=1e-5)
    assert len({k.tobytes() for k in layer.recurrent.numpy()}) == 3


def test_lstms_give_every_step_only_without_an_mlp():
    with pytest.raises(
        ValueError, match=r"every_step = True returns the states of the LSTMs, but units = \[4\]"
    ):
        LSTMExperts(2, [4], every_step=True)


def test_cross_stitch_golden():
    layer, x = CrossStitch(), tf.constant([[[1.0, 10.0], [2.0, 20.0]]])
    layer(x)
    layer.alpha.assign([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(
        layer(x), [[[5, 50], [11, 110]]]
    )  # 1·1 + 2·2, 1·10 + 2·20; 3·1 + 4·2, 3·10 + 4·20


def test_cross_stitch_per_unit_golden():
    layer, x = CrossStitch(per_unit=True), tf.constant([[[1.0, 10.0], [2.0, 20.0]]])
    layer(x)
    layer.alpha.assign(np.stack([[[1, 2], [3, 4]], [[0, 1], [1, 0]]], -1))
    np.testing.assert_array_equal(layer(x), [[[5, 20], [11, 10]]])  # the second unit swaps


@pytest.mark.parametrize(
    ("count", "start"),
    [(1, [[1]]), (2, [[0.9, 0.1], [0.1, 0.9]]), (3, np.full([3, 3], 0.05) + 0.85 * np.eye(3))],
)
@pytest.mark.parametrize("per_unit", [False, True])
def test_cross_stitch_starts_convex(count, start, per_unit):
    layer = CrossStitch(per_unit=per_unit)
    layer(tf.zeros([1, count, 2]))
    for alpha in np.moveaxis(layer.alpha.numpy(), 2, 0) if per_unit else [layer.alpha.numpy()]:
        np.testing.assert_allclose(alpha, start, rtol=1e-6)


def test_layer_mixture_golden():
    layer, x = (
        LayerMixture(last_share=0.8),
        tf.constant([[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]]),
    )
    layer(x)
    np.testing.assert_allclose(layer.beta, [[0.1, 0.1, 0.8]] * 2, rtol=1e-6)
    layer.beta.assign([[1.0, 10.0, 100.0], [0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(layer(x), [[[321.0], [11.0]]])


def test_transfer_golden():
    layer, p, q = Transfer(), tf.constant([[1.0, 0, 0, 0]]), tf.constant([[0.0, 1, 0, 0]])
    layer(p, q)
    value, key = np.zeros([4, 4]), np.zeros([4, 4])
    value[:2], key[1, 1] = [[4, 8, 0, 0], [0, 4, 8, 0]], 2 * np.log(3)
    layer.set_weights([value, key, np.eye(4)])
    # scores 0 and 2·ln 3 / √4: softmax (1/4, 3/4); 1/4·(4, 8, 0, 0) + 3/4·(0, 4, 8, 0)
    np.testing.assert_allclose(layer(p, q), [[1, 5, 6, 0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2)])
def test_orthogonal_golden(shape):
    # G_1 = (1, 2)ᵀ, G_2 = (3, 4)ᵀ: G_1ᵀ G_2 = 3 + 8 = 11; 0.5·11² + 0.1·(1 + 9 + 4 + 16)
    kernel = tf.constant([[1.0, 3.0], [2.0, 4.0]])
    assert float(
        Orthogonal(0.5, count=1, subspaces=2, l2=0.1)(tf.reshape(kernel, shape))
    ) == pytest.approx(60.5 + 3)


def test_orthogonal_keeps_networks_and_all_pairs_apart():
    kernel = RNG.normal(size=(2, 4, 6)).astype(
        np.float32
    )  # two networks, three subspaces of two units
    expected = sum(
        np.sum((g[:, a : a + 2].T @ g[:, b : b + 2]) ** 2)
        for g in kernel
        for a, b in ((0, 2), (0, 4), (2, 4))
    )
    penalty = Orthogonal(1.0, count=2, subspaces=3)
    assert float(penalty(kernel)) == pytest.approx(expected, rel=1e-5)
    assert float(penalty(np.concatenate(kernel, 1))) == pytest.approx(expected, rel=1e-5)
