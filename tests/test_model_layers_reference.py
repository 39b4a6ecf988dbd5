"""Every block against an independent implementation: outputs, and gradients by every weight and
input, to 1e-5.
"""

from functools import partial

import numpy as np
import pytest
import reference_layers as ref
import tensorflow as tf
from reference_check import (
    TOLERANCE,
    assert_outputs,
    assert_outputs_and_gradients,
    precision,
    set_random,
)

from model import layers
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

# Rows, width of x, networks, steps, width of a step, units of an LSTM.
B, I, N, T, D, U = 5, 4, 2, 3, 2, 2  # noqa: E741
PRESENT = np.array(
    [[1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], bool
)  # with a hole, and with nothing at all
X, EACH_X = (B, I), (B, N, I)


def networks(compute, each=()):
    """Of N networks, one at a time; those inputs whose places are in `each` are theirs alone."""

    def together(w, *inputs):
        reads = [
            [v[:, i] if place in each else v for place, v in enumerate(inputs)] for i in range(N)
        ]
        return np.stack([compute(ref.own(w, i, N), *read) for i, read in enumerate(reads)], 1)

    return together


def cases(activation="tanh"):
    """{block and variant: (layer, shapes of its inputs, reference)}."""
    act, units = {"activation": activation}, [3, 3, 2]
    rich = act | {"normalize": "batch", "residual": True}
    by_row = rich | {"normalize": "layer"}
    plain, cross = partial(ref.network, **act), partial(ref.cross, **act)
    residual, each = partial(plain, residual=True, normalize="batch"), partial(networks, each=(0,))
    residual_by_row = partial(residual, normalize="layer")

    def fm(w, x, *fields):
        return ref.fm(w, x, fields, **act)

    def lstm(w, x, s):
        return ref.lstm(w, s, PRESENT)

    def lstm_expert(w, x, s):
        return ref.lstm_expert(w, x, s, PRESENT, **act)

    def gate(w, x, experts, **options):
        weights = ref.gate(w, x, **act, **options)
        return ref.mixture(weights, [experts[:, i] for i in range(N)]), weights

    def stitch(w, x):
        return np.stack(ref.cross_stitch(w["alpha"], [x[:, k] for k in range(N)]), 1)

    def layer_mixture(w, x):
        return np.stack(
            ref.layer_mixture(
                w["beta"], [[x[:, k, level] for k in range(N)] for level in range(3)]
            ),
            1,
        )

    return {
        "MLP": (MLP(units, **act), [X], plain),
        "MLP, batch norm and residual": (MLP(units, **rich), [X], residual),
        "Experts": (Experts(N, units, **act), [X], networks(plain)),
        "Experts, batch norm and residual": (Experts(N, units, **rich), [X], networks(residual)),
        "Experts, an input each, batch norm and residual": (
            Experts(N, units, **rich),
            [EACH_X],
            each(residual),
        ),
        "MLP, layer norm and residual": (MLP(units, **by_row), [X], residual_by_row),
        "Experts, layer norm and residual": (
            Experts(N, units, **by_row),
            [X],
            networks(residual_by_row),
        ),
        "Experts, an input each, layer norm and residual": (
            Experts(N, units, **by_row),
            [EACH_X],
            each(residual_by_row),
        ),
        "CrossExperts": (CrossExperts(N, [3], cross_layers=3, **act), [X], networks(cross)),
        "CrossExperts, an input each": (CrossExperts(N, [3], **act), [EACH_X], each(cross)),
        "FMExperts": (FMExperts(N, [3, 2], **act), [X, (B, 3, 2), (B, 2, 3)], networks(fm)),
        "LSTMExperts": (
            LSTMExperts(N, [3], lstm_units=U, **act),
            [X, (B, T, D)],
            networks(lstm_expert),
        ),
        "LSTMExperts, every step": (
            LSTMExperts(N, [], lstm_units=U, every_step=True),
            [X, (B, T, D)],
            networks(lstm),
        ),
        "LSTMExperts, a sequence each": (
            LSTMExperts(N, [], lstm_units=U),
            [X, (B, N, T, D)],
            networks(lambda *read: lstm(*read)[:, -1], each=(1,)),
        ),
        "Gate": (Gate(N), [X, EACH_X], gate),
        "Gate, hidden layers with batch norm": (
            Gate(N, [3, 3], **rich),
            [X, EACH_X],
            partial(gate, residual=True, normalize="batch"),
        ),
        "CrossStitch": (CrossStitch(), [(B, N, 3)], stitch),
        "CrossStitch, per unit": (CrossStitch(per_unit=True), [(B, N, 3)], stitch),
        "LayerMixture": (LayerMixture(), [(B, N, 3, 2)], layer_mixture),
        "Transfer": (Transfer(), [(B, 3), (B, 3)], ref.transfer),
    }


def prepare(name, activation):
    """(layer, compute, reference, inputs) as the checks take them."""
    with precision("float64" if "norm" in name else "float32"):
        layer, shapes, reference = cases(activation)[name]
    rng = np.random.default_rng(7)
    inputs = {f"input_{i}": rng.normal(size=shape) for i, shape in enumerate(shapes)}

    def compute(tensors):
        read = list(tensors.values())
        if isinstance(layer, FMExperts):
            read = [read[0], read[1:]]
        if isinstance(layer, LSTMExperts):
            read.append(tf.constant(PRESENT))
        return by_place(layer(*read, training=True))

    return layer, compute, lambda w, x: by_place(reference(w, *x.values())), inputs


def by_place(outputs):
    return {
        f"output_{i}": value
        for i, value in enumerate(outputs if isinstance(outputs, tuple) else [outputs])
    }


def test_every_block_has_a_reference():
    compared = {type(layer).__name__ for layer, _, _ in cases().values()}
    assert compared | {"Network", "Orthogonal"} == set(layers.__all__)  # a base; a penalty, below


@pytest.mark.parametrize("name", cases())
def test_outputs_and_gradients(name):
    assert_outputs_and_gradients(*prepare(name, "tanh"))


@pytest.mark.parametrize(
    "name", [name for name, (layer, _, _) in cases().items() if hasattr(layer, "activation")]
)
def test_outputs_with_a_kink(name):
    assert_outputs(*prepare(name, "relu"))


@pytest.mark.parametrize("shape", [(I, N * 6), (N, I, 6)])
def test_orthogonal(shape):
    penalty, kernel = (
        Orthogonal(0.5, N, 3, l2=0.1),
        tf.Variable(np.random.default_rng(3).normal(size=shape), dtype=tf.float32),
    )
    with tf.GradientTape() as tape:
        value = penalty(kernel)

    def reference(at):
        kernels = [ref.own(at, k, N)["kernel"] for k in range(N)]
        return 0.5 * ref.orthogonality(kernels, 3) + 0.1 * np.sum(at["kernel"] ** 2)

    at = {"kernel": kernel.numpy().astype(np.float64)}
    np.testing.assert_allclose(value, reference(at), rtol=TOLERANCE)
    wanted = ref.central_differences(reference, at)["kernel"]
    np.testing.assert_allclose(
        tape.gradient(value, kernel), wanted, atol=TOLERANCE * np.abs(wanted).max()
    )


@pytest.mark.parametrize(
    "make",
    [
        partial(MLP),
        *(partial(kind, N) for kind in (Experts, CrossExperts, FMExperts, LSTMExperts, Gate)),
    ],
)
@pytest.mark.parametrize("normalize", ["batch", "layer"])
def test_l2_is_of_all_kernels_and_of_nothing_else(make, normalize):
    layer = make([3, 2], l2=0.01, normalize=normalize)
    reads = {
        MLP: [],
        FMExperts: [[tf.ones([B, 2, 2])]],
        LSTMExperts: [tf.ones([B, T, D]), tf.constant(PRESENT)],
        Gate: [tf.ones(EACH_X)],
    }
    layer(tf.ones(X), *reads.get(type(layer), []))
    set_random(layer)
    w = ref.named(layer.trainable_variables)
    kernels = [
        value
        for name, value in w.items()
        if not name.split("/")[-1].startswith(("bias", "gamma", "beta"))
    ]
    np.testing.assert_allclose(
        sum(map(float, layer.losses)), 0.01 * sum(np.sum(k**2) for k in kernels), rtol=TOLERANCE
    )
