"""The weights of pareto: on paper, against another exact method, and by the conditions of an
optimum.
"""

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_spec
from scipy.optimize import nnls

from features.errors import FunnelError
from model.config import ModelConfig
from model.weighting.base import gram
from model.weighting.pareto import Pareto, least_norm

solve = tf.function(least_norm, autograph=False)


def found(gradients, bounds=None):
    gradients = np.array(gradients, float)
    bounds = np.zeros(len(gradients)) if bounds is None else np.array(bounds, float)
    return solve(tf.constant(gradients @ gradients.T), tf.constant(bounds)).numpy()


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([1.0, 0.0], [0.0, 1.0], 0.5),
        ([2.0, 0.0], [0.0, 1.0], 0.2),  # (g₂ − g₁)·g₂ / ‖g₁ − g₂‖² = 1/5
        ([1.0, 0.0], [3.0, 0.0], 1.0),  # the shorter of two that agree
        ([-1.0, 0.0], [3.0, 0.0], 0.75),  # 12/16: they cancel
        ([1.0, 2.0], [1.0, 2.0], 0.5),  # equal ones share
    ],
)
def test_two_on_paper(first, second, wanted):
    np.testing.assert_allclose(found([first, second]), [wanted, 1 - wanted], atol=1e-9)


@pytest.mark.parametrize(
    ("gradients", "bounds", "wanted"),
    [
        ([[1, 0, 0], [0, 2, 0], [0, 0, 2]], [0, 0, 0], [2 / 3, 1 / 6, 1 / 6]),  # w_k ∝ 1 / ‖g_k‖²
        ([[1, 0], [0, 1], [1, 1]], [0, 0, 0], [0.5, 0.5, 0]),  # the third is longer and between
        (
            [[1, 0], [0, 1], [1, 1]],
            [0, 0, 0.2],
            [0.4, 0.4, 0.2],
        ),  # (.6, .6), the others still alike
        ([[1, 0], [0, 1], [0, 1]], [0, 0, 0], [0.5, 0.25, 0.25]),  # equal ones share
        ([[1, 0], [0, 0], [0, 1]], [0, 0.5, 0], [0.5, 0, 0.5]),  # no rows: its bound does not hold
        ([[0, 0], [0, 0], [0, 0]], [0.2, 0, 0], [0, 0, 0]),
        ([[3, 0], [0, 1], [1, 1]], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]),  # nothing is left to choose
        ([[1e6, 0, 0], [0, 1e-6, 0], [0, 0, 1e-6]], [0, 0, 0], [5e-25, 0.5, 0.5]),
        ([[1e6, 0], [-1e-6, 0], [0, 1]], [0, 0, 0], [1e-12, 1 - 1e-12, 0]),  # the first two cancel
        ([[2, 0, 0]], [0], [1]),
    ],
)
def test_others_on_paper(gradients, bounds, wanted):
    np.testing.assert_allclose(found(gradients, bounds), wanted, rtol=1e-9, atol=1e-11)


def random_case(kind, rng):
    """(gradients, bounds) of 2 … 8 objectives; every second has bounds."""
    count = rng.integers(2, 9)
    gradients = rng.normal(size=(count, rng.integers(1, 12)))
    if kind == "sizes":
        gradients *= 10.0 ** rng.uniform(-6, 6, (count, 1))
    elif kind == "equal":
        gradients[-1] = gradients[0]
    elif kind == "opposite":
        gradients[-1] = -2 * gradients[0]
    elif kind == "close":
        gradients = gradients[:1] + 1e-3 * gradients
    return gradients, rng.dirichlet(np.ones(count)) * rng.choice([0.0, rng.uniform(0, 0.9)])


def reference(gradients, bounds):
    """Least squares over x ≥ 0: ‖Gᵀx‖² + (Σx − 1)² is least at a multiple of w, where g_k = Σ_j c_j
    g_j + (1 − Σc)·g_k.
    """
    rest = 1 - bounds.sum()
    moved = bounds @ gradients + rest * gradients
    system = np.vstack([moved.T / np.abs(moved).max(), np.ones(len(bounds))])
    x, _ = nnls(system, np.eye(len(system))[-1], maxiter=10_000)
    return bounds + rest * x / x.sum()


@pytest.mark.parametrize("kind", ["normal", "sizes", "equal", "opposite", "close"])
def test_an_optimum_over_random_gradients(kind):
    rng = np.random.default_rng(0)
    for _ in range(100):
        gradients, bounds = random_case(kind, rng)
        w, lengths = found(gradients, bounds), np.linalg.norm(gradients, axis=1)
        scale, step = (w * lengths).max(), w @ gradients
        assert w.sum() == pytest.approx(1, abs=1e-12)
        assert (w >= bounds).all()
        assert (
            np.linalg.norm(step)
            <= np.linalg.norm(reference(gradients, bounds) @ gradients) + 1e-7 * scale
        )
        # KKT: g_k · Σ w g is nowhere less than its mean over u = w − c, so it is the mean wherever
        # u_k > 0
        slopes, u = gradients @ step, w - bounds
        assert ((slopes - slopes @ u / u.sum()) / lengths >= -1e-7 * scale).all()


@pytest.mark.parametrize("bounded", [False, True])
def test_the_weights_of_independent_gradients_are_those_of_another_method(bounded):
    rng = np.random.default_rng(1)
    for _ in range(100):
        count = rng.integers(2, 9)
        gradients, bounds = (
            rng.normal(size=(count, 20)),
            bounded * rng.dirichlet(np.ones(count)) / 2,
        )
        np.testing.assert_allclose(
            found(gradients, bounds), reference(gradients, bounds), atol=1e-8
        )


def test_a_gradient_that_is_not_finite_does_not_stop_the_step():
    products = tf.constant(
        [[np.inf, np.nan, np.nan], [np.nan, 1.0, 0.0], [np.nan, 0.0, 1.0]], tf.float64
    )
    np.testing.assert_allclose(
        solve(products, tf.constant([0.2, 0.0, 0.0], tf.float64)), [0.0, 0.5, 0.5]
    )


def test_products_of_close_gradients_keep_their_difference():
    first = tf.constant([1.0, 1e-4], tf.float32)
    m = gram([[first], [tf.constant([1.0, 0.0])]]).numpy()
    assert m[0, 0] + m[1, 1] - 2 * m[0, 1] == pytest.approx(1e-8, rel=1e-6)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"at_least": {"ctr": 0.6, "cvr": 0.5}},
            r"at_least sums to 1\.1, and all weights to 1: lower the bounds",
        ),
        ({"iterations": 200}, "unknown key 'iterations'"),
    ],
)
def test_options_are_checked(table, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"weighting": {"name": "pareto"} | table}, "model").check(make_spec())


def test_more_than_twelve_objectives_are_refused():
    params = Pareto.Params.parse({"name": "pareto"})
    params.check([f"task_{k}" for k in range(12)])
    with pytest.raises(
        FunnelError,
        match=r"'pareto' weighs at most 12 objectives, .* there are 13: choose another weighting",
    ):
        params.check([f"task_{k}" for k in range(13)])
