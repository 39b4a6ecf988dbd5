"""Cross-stitch, sluice and mixture of sequential experts: numbers on paper, and what they are with
trivial weights.
"""

import numpy as np
import pytest
import tensorflow as tf

from features.errors import FunnelError
from model.config import ModelConfig
from model.embeddings.inputs import History, Inputs
from model.sharing import SHARING

HEADS = ["ctr", "cvr"]
X = Inputs(tf.constant([[1.0, 2.0]]), {}, {})
ROWS = Inputs(tf.random.stateless_normal([9, 4], [1, 2]), {}, {})


def build(name, inputs=X, **options):
    layer = SHARING[name](options, HEADS, name=name)
    layer(inputs)
    return layer


def assert_heads(layer, inputs, **expected):
    found = {head: h.numpy().ravel() for head, h in layer(inputs).items()}
    assert set(found) == set(expected)
    for head, values in expected.items():
        np.testing.assert_allclose(found[head], values, rtol=1e-6, err_msg=head)


def test_cross_stitch_golden():
    layer = build("cross_stitch", units=[1, 1])
    first, second = layer.stitches
    kernels, biases = layer.networks.kernels, layer.networks.biases
    kernels[0].assign([[2.0, 0.0], [1.0, 4.0]])  # x_ctr = 2·1 + 1·2 = 4, x_cvr = 4·2 = 8
    first.alpha.assign([[1.0, 2.0], [0.5, 0.0]])  # 1·4 + 2·8 = 20; 4/2 = 2
    kernels[1].assign([[[1.0]], [[3.0]]])
    biases[1].assign([[[0.0]], [[1.0]]])  # 20; 3·2 + 1 = 7
    np.testing.assert_allclose(second.alpha, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-6)
    assert_heads(layer, X, ctr=[0.9 * 20 + 0.1 * 7], cvr=[0.1 * 20 + 0.9 * 7])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_unit": True},
        {"normalize": "batch"},
        {"normalize": "layer"},
        {"residual": True},
        {"activation": "tanh"},
    ],
    ids=str,
)
def test_cross_stitch_with_identity_stitches_is_single_task(options):
    units, shared = [3, 3, 2], {k: v for k, v in options.items() if k != "per_unit"}
    stitched = build("cross_stitch", ROWS, units=units, own_share=1.0, **options)
    single = build("single_task", ROWS, units=units, share_embeddings=True, **shared)
    networks = stitched.networks
    for n, bottom in enumerate(single.bottoms.values()):
        for level, dense in enumerate(bottom.dense):
            kernel, own = (
                networks.kernels[level].numpy(),
                slice(n * units[level], (n + 1) * units[level]),
            )
            dense.kernel.assign(kernel[:, own] if level == 0 else kernel[n])
    for training in (False, True):
        expected = single(ROWS, training=training)
        for head, h in stitched(ROWS, training=training).items():
            np.testing.assert_allclose(h, expected[head], rtol=1e-4, atol=1e-5)


def test_sluice_golden():
    layer = build("sluice", units=[2, 2])
    kernels = layer.networks.kernels
    kernels[0].assign(
        [[1.0, 0, 1, 0], [0, 1, 1, 2]]
    )  # h_ctr = (1, 2), h_cvr = (1 + 2, 2·2) = (3, 4)
    # Rows: ctr's first subspace takes both first ones, its second itself; cvr's first takes twice
    # ctr's second, its second itself.
    layer.stitches[0].alpha.assign(
        [[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]
    )  # ctr (1 + 3, 2), cvr (2·2, 4)
    kernels[1].assign([np.eye(2), 2 * np.eye(2)])  # ctr (4, 2), cvr (8, 8)
    layer.stitches[1].alpha.assign(np.eye(4))
    layer.mixture.beta.assign([[1.0, 10.0], [0.5, 1.0]])
    assert_heads(layer, X, ctr=[1 * 4 + 10 * 4, 1 * 2 + 10 * 2], cvr=[4 / 2 + 8, 4 / 2 + 8])


def test_sluice_starts_as_told():
    layer = build("sluice", units=[4, 4, 4], own_share=0.7)
    np.testing.assert_allclose(
        layer.stitches[0].alpha, 0.1 + 0.6 * np.eye(4), rtol=1e-6
    )  # 0.7 and 0.3/3
    np.testing.assert_allclose(layer.mixture.beta, [[0.15, 0.15, 0.7]] * 2, rtol=1e-6)


def test_sluice_penalty_golden():
    layer = build("sluice", units=[2], orthogonality=0.5, l2=0.1)
    layer.networks.kernels[0].assign([[1.0, 3, 0, 1], [2, 4, 1, 0]])
    # ctr: (1, 2)·(3, 4) = 11; cvr: (0, 1)·(1, 0) = 0. 0.5·11² + 0.1·(1 + 9 + 1 + 4 + 16 + 1)
    assert [float(loss) for loss in layer.losses] == [pytest.approx(60.5 + 3.2)]
    assert build("sluice", units=[2]).losses == []


def counter(weight, values):
    """What an LSTM of one unit gives whose gates stand open and whose g is weight·s: h_t = tanh(Σ
    tanh(weight·s)).
    """
    return np.tanh(np.cumsum(np.tanh(weight * np.array(values))))


def open_gates(layer, *weights):
    joined = layer.kernel.shape[0] == 1
    kernels = [[[0.0, 0, weight, 0]] for weight in weights]
    layer.kernel.assign(
        np.concatenate(kernels, 1) if joined and len(layer.kernel.shape) == 2 else kernels
    )
    layer.recurrent.assign(tf.zeros_like(layer.recurrent))
    layer.bias.assign([[[99.0, 99, 0, 99]]] * len(weights))


def test_mose_golden():
    steps = History(tf.constant([[[1.0], [9.0], [0.5]]]), tf.constant([[True, False, True]]))
    inputs = X._replace(sequences={"recent": steps})
    layer = build("mose", inputs, experts=2, lstm_units=1)
    open_gates(layer.bottom, 1.0)
    open_gates(layer.experts, 1.0, -2.0)
    open_gates(layer.lstms, 3.0, 1.0)
    layer.gates["ctr"].dense.set_weights(
        [np.array([[0.0, np.log(3.0)], [0.0, 0.0]])]
    )  # softmax(0, ln 3) = (1/4, 3/4)
    layer.gates["cvr"].dense.set_weights([np.zeros([2, 2])])
    below = counter(1, [1.0, 0.5])  # the absent step changes nothing
    one, two = counter(1, below), counter(-2, below)
    ctr, cvr = counter(3, one / 4 + two * 3 / 4)[-1], counter(1, (one + two) / 2)[-1]
    assert_heads(layer, inputs, ctr=[ctr, 1, 2], cvr=[cvr, 1, 2])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"name": "sluice", "units": [4, 6]},
            r"model\.sharing: units = \[4, 6\]: sluice sums the outputs of its layers",
        ),
        (
            {"name": "sluice", "units": [4, 4], "subspaces": 3},
            r"units = 4 does not divide into subspaces = 3 of equal width",
        ),
        (
            {"name": "sluice", "subspaces": 1},
            r"sharing\.subspaces = 1: .*greater than or equal to 2",
        ),
        (
            {"name": "cross_stitch", "own_share": 1.5},
            r"sharing\.own_share = 1\.5: .*less than or equal to 1",
        ),
        (
            {"name": "mose", "dropout": 0.5},
            r"dropout = 0\.5 is for hidden layers, and gate_units = \[\] gives none: give units",
        ),
    ],
)
def test_options_that_cannot_be_built(table, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"sharing": table}, "model")
