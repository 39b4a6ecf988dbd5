"""Each funnel's losses, and their gradients, equal those of a float64 NumPy reference written from
the papers.
"""

import numpy as np
import pytest
import tensorflow as tf
from model_data import LABELS, TASKS, make_spec
from pairs import CART, OPTIONS, spec_of
from reference_funnels import REFERENCES

from model.funnels import FUNNELS

BUY = {"buy": {"event": "conversions", "within": "1d", "after": "cart"}}
CHAIN = make_spec(  # click → cart → buy
    labels=LABELS | CART | BUY,
    tasks={
        "ctr": TASKS["ctr"],
        "add": {"label": "cart", "given": "click"},
        "buy": {"label": "buy", "given": "cart"},
    },
)
CASES = [pytest.param(name, {}, spec_of(name), id=name) for name in FUNNELS]
CASES += [pytest.param("escm2", {"estimator": "dr"}, spec_of("escm2"), id="escm2-dr")]
CASES += [
    pytest.param(name, {}, CHAIN, id=f"{name}-of-three") for name in ("esmm", "aitm", "dbmtl")
]
MORE = {"escm2": {"propensity_floor": 0.4}}  # a floor that bites on some rows
ROWS, WIDTH, STEP = 12, 3, 1e-6


@pytest.mark.parametrize(("name", "options", "spec"), CASES)
def test_losses_and_gradients(name, options, spec):
    kind, random = FUNNELS[name], np.random.default_rng(5)
    table = (
        {"name": name, "tower_units": [3], "activation": "tanh"}
        | OPTIONS.get(name, {})
        | MORE.get(name, {})
        | options
    )
    funnel = kind(kind.Params.parse(table), spec)
    h = {head: random.normal(size=(ROWS, WIDTH)) for head in funnel.heads}
    labels = {
        "click": np.array([0, 1] * 5 + [-1, 1]),
        "convert": np.array([0, 1, 0, 0, 1, 1, 0, -1, 0, 0, 1, 1]),
        "cart": np.arange(ROWS) % 3 - 1,
        "buy": np.array([1, 0, 1, 0, -1, 1, 0, -1, 0, 0, 1, 1]),
    }
    tensors = {head: tf.constant(x, tf.float32) for head, x in h.items()}
    funnel(tensors)
    for weight in funnel.trainable_weights:
        weight.assign(random.normal(size=weight.shape))
    with tf.GradientTape() as tape:
        sums = [
            o.sums()
            for o in funnel.objectives(
                funnel(tensors), {n: tf.constant(y, tf.int64) for n, y in labels.items()}
            )
        ]
        loss = tf.add_n([total / rows for total, rows in sums])
    gradients = tape.gradient(loss, [w.value for w in funnel.trainable_weights])
    weights = {
        w.path.removeprefix("funnel/"): w.numpy().astype(np.float64)
        for w in funnel.trainable_weights
    }
    fixed = ({},) if name == "escm2" else ()
    assert float(loss) == pytest.approx(REFERENCES[name](weights, h, labels, *fixed), rel=1e-5)
    for (path, weight), found in zip(weights.items(), gradients, strict=True):
        wanted = differences(lambda: REFERENCES[name](weights, h, labels, *fixed), weight)
        np.testing.assert_allclose(
            found, wanted, atol=1e-5 * max(1, abs(wanted).max()), err_msg=path
        )


def differences(loss, weight):
    """Central differences of loss() by each number of the weight, which it reads."""
    found = np.zeros_like(weight)
    for at in np.ndindex(weight.shape):
        start = weight[at]
        weight[at] = start + STEP
        above = loss()
        weight[at] = start - STEP
        found[at] = (above - loss()) / (2 * STEP)
        weight[at] = start
    return found


def test_every_funnel_has_a_reference():
    assert set(REFERENCES) == set(FUNNELS)
