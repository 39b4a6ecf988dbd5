"""Labels on their sample spaces, cross-entropy on paper, and losses that stay finite."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from model_data import LABELS, TASKS, make_spec

from model.objectives.objective import cross_entropy
from model.objectives.predictions import from_logit, joint
from model.objectives.sample_spaces import both, entire_space, own_space

CHAIN = make_spec(
    labels=LABELS | {"return": {"event": "returns", "within": "7d", "after": "convert"}},
    tasks=TASKS | {"ret": {"label": "return", "given": "convert"}},
)
EVERY = np.array(list(itertools.product([-1, 0, 1], repeat=3)))  # [27, 3]: click, convert, return
COLUMNS = dict(zip(["click", "convert", "return"], EVERY.T, strict=True))


def conjunction(values: list[int]) -> int:
    """0 if any is 0, else −1 if any is unknown, else 1."""
    return 0 if 0 in values else -1 if -1 in values else 1


@pytest.fixture(params=["numpy", "tensorflow"])
def labels(request):
    return (
        COLUMNS
        if request.param == "numpy"
        else {name: tf.constant(v, tf.int64) for name, v in COLUMNS.items()}
    )


def test_both(labels):
    expected = [conjunction([a, b]) for a, b, _ in EVERY]
    np.testing.assert_array_equal(both(labels["click"], labels["convert"]), expected)


@pytest.mark.parametrize(("task", "given"), [("ctr", None), ("cvr", 0), ("ret", 1)])
def test_own_space(labels, task, given):
    label, mask = own_space(CHAIN, task, labels)
    own = list(CHAIN.tasks).index(task)
    np.testing.assert_array_equal(label, EVERY[:, own])
    np.testing.assert_array_equal(
        mask, [row[own] >= 0 and (given is None or row[given] == 1) for row in EVERY]
    )


@pytest.mark.parametrize(("task", "length"), [("ctr", 1), ("cvr", 2), ("ret", 3)])
def test_entire_space(labels, task, length):
    label, mask = entire_space(CHAIN, task, labels)
    expected = np.array([conjunction(list(row[:length])) for row in EVERY])
    np.testing.assert_array_equal(label, expected)
    np.testing.assert_array_equal(mask, expected >= 0)


def test_joint_golden():
    p = joint(from_logit(tf.constant([np.log(3.0)], tf.float32)), from_logit(tf.constant([0.0])))
    np.testing.assert_allclose(np.exp(p.log_p), [3 / 4 * 1 / 2], rtol=1e-6)
    np.testing.assert_allclose(np.exp(p.log_not_p), [1 - 3 / 8], rtol=1e-6)


def test_cross_entropy_golden():
    p = from_logit(tf.fill([3], np.log(3.0).astype(np.float32)))  # p = 3/4
    total, rows = cross_entropy(
        "ctr", p, tf.constant([1, 0, -1]), tf.constant([True, True, False])
    ).sums()
    np.testing.assert_allclose(total, -np.log(3 / 4) - np.log(1 / 4), rtol=1e-6)
    assert float(rows) == 2


def loss_and_gradient(
    first: float, second: float, label: int, mask: bool = True
) -> tuple[float, np.ndarray]:
    """Of the cross-entropy of σ(first)·σ(second)."""
    logits = [tf.Variable([first]), tf.Variable([second])]
    with tf.GradientTape() as tape:
        p = joint(from_logit(logits[0]), from_logit(logits[1]))
        loss, _ = cross_entropy("ctcvr", p, tf.constant([label]), tf.constant([mask])).sums()
    return float(loss), np.concatenate([g.numpy() for g in tape.gradient(loss, logits)])


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product([-200.0, -40.0, 0.5, 40.0, 200.0], repeat=2))
)
def test_products_of_extreme_logits(first, second):
    # −log p = softplus(−z₁) + softplus(−z₂), its gradient −σ(−zᵢ); with q = 1 − p: −log q, gradient
    # p·σ(−zᵢ) / q
    z = np.array([first, second])
    above, below = -np.logaddexp(0, -z), -np.logaddexp(0, z)  # log σ(z), log σ(−z)
    log_p, log_q = above.sum(), np.logaddexp(below[0], above[0] + below[1])
    loss, gradient = loss_and_gradient(first, second, 1)
    assert loss == pytest.approx(-log_p, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(gradient, -np.exp(below), rtol=1e-4, atol=1e-6)
    loss, gradient = loss_and_gradient(first, second, 0)
    assert loss == pytest.approx(-log_q, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(gradient, np.exp(log_p + below - log_q), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("first", [-200.0, 0.0, 200.0])
def test_an_empty_sample_space_gives_no_loss_and_no_gradient(first):
    loss, gradient = loss_and_gradient(first, 40.0, -1, mask=False)
    assert loss == 0
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
