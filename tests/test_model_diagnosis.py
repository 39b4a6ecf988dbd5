"""What is said of losses and gradients that are not finite where no batch of this process is to
blame.
"""

import re

import pytest
import tensorflow as tf
from model_data import make_estimator, make_model, write_data
from test_model_workers import start

from features.errors import FunnelError
from model.estimator import diagnosis
from model.funnels.base import Funnel


@tf.custom_gradient
def without_derivative(x):
    """As the root of 0: finite forward, not backward."""
    return tf.identity(x), lambda upstream: upstream * float("nan")


@pytest.fixture
def one_bad_derivative(tmp_path, monkeypatch):
    """A run in whose backward pass the logit of cvr, and all before it, are not finite; every loss
    is.
    """

    def logit(self, head, towers, wide):
        z = real(self, head, towers, wide)
        return without_derivative(z) if head == "cvr" else z

    write_data(tmp_path)
    real = Funnel.logit
    monkeypatch.setattr(Funnel, "logit", logit)
    return lambda **train: make_estimator(tmp_path, model=make_model("mmoe"), **train)


def said(estimator):
    with pytest.raises(FunnelError) as raised:
        estimator.train()
    return str(raised.value)


def test_weights_are_named_from_the_losses_down(one_bad_derivative):
    assert said(one_bad_derivative()) == (
        "gradients are not finite in step 1: those of funnel/logit_cvr/bias, "
        "funnel/logit_cvr/kernel, funnel/tower_cvr/dense_0/bias, …, 14 of 19 weights, the "
        "nearest to the losses first; the losses and all features and labels of the batch are "
        "finite, so the weights diverged, or a derivative there divides by zero: lower "
        "train.learning_rate = 0.001 or train.embedding_learning_rate = 0.05, or fix that layer"
    )


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (
            {"clip_norm": 1.0},
            "train.clip_norm = 1.0 spreads the values to all: leave it out to see them;",
        ),
        (
            {"precision": "float16", "steps": 20},
            "the step was skipped: train.precision = 'float32' shows them;",
        ),
    ],
)
def test_where_weights_are_unknown_it_says_how_to_see_them(one_bad_derivative, train, reason):
    assert f": the affected weights are unknown because {reason} the losses and" in said(
        one_bad_derivative(**train)
    )


def test_the_worker_whose_batch_it_was_is_named(tmp_path, monkeypatch):
    write_data(tmp_path)
    monkeypatch.setattr(diagnosis, "gathered", lambda strategy, mine: [[mine], [0], [1]])
    estimator = make_estimator(tmp_path, learning_rate=1e30, optimizer="sgd", steps=50)
    assert re.search(
        r"in step \d+: every value of this worker's batch is finite, but not that of worker 2, "
        r"whose own error names the row$",
        said(estimator),
    )


SPOILT = """
import sys
from pathlib import Path
import tensorflow as tf
from features.errors import FunnelError
from model_data import make_estimator
from model.estimator.estimator import RankingEstimator
from model.training.workers import worker
from test_model_workers import halves

run = make_estimator(Path(sys.argv[1]))
slot = run.config.spec.dense_slots["age"].start

def spoil(batch):
    if worker() != 1:
        return batch
    infinite = tf.tensor_scatter_nd_update(batch["dense"], [[3, slot]], [float("inf")])
    return batch | {"dense": infinite}

try:
    RankingEstimator.train(run, lambda context: halves(run)(context).map(spoil), max_steps=4)
except FunnelError as error:
    print("said:", error)
"""


@pytest.mark.slow
def test_of_two_workers_one_names_the_row_and_the_other_that_worker(tmp_path):
    write_data(tmp_path)
    ends = start(tmp_path, program=SPOILT)
    first, second = (output.split("said: ")[1].splitlines()[0] for _, output in ends)
    assert (
        "every value of this worker's batch is finite, but not that of worker 1, whose own error "
        "names the row" in first
    )
    assert "feature 'age' is inf in row 3 of the batch" in second
