"""Training that ends by the loss of held-out rows."""

import json

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_estimator, make_spec, write_data

from model.data.input import Data
from model.estimator.callbacks.held_out_loss import EarlyStop, HeldOutLoss

CONTEXT = tf.distribute.InputContext()


class Drawn(EarlyStop):
    """Its losses are given, by step."""

    def __init__(self, folder, losses: dict[int, float], said: list[str]) -> None:
        super().__init__(folder, lambda: None, every=2, last=max(losses), say=said.append)
        self.drawn, self.weights = losses, {}

    def watch(self, trainer) -> None:
        super().watch(trainer)
        self._loss = lambda dataset, weights: self.drawn[trainer.reached]

    def __call__(self, progress) -> bool:
        self.weights[progress.step] = self._trainer.model.weights[0].numpy()
        return super().__call__(progress)


def train(tmp_path, losses: dict[int, float], steps: int | None = None):
    said: list[str] = []
    if not (tmp_path / "data").exists():
        write_data(tmp_path)
    estimator = make_estimator(tmp_path, steps=steps or max(losses))
    stop = Drawn(tmp_path / "model/early_stop", losses, said)
    trained = estimator.train(stop)
    return trained, stop, estimator.load().weights[0].numpy(), said


def test_it_ends_after_three_evaluations_without_a_lower_loss_and_keeps_the_best(tmp_path):
    trained, stop, kept, said = train(tmp_path, {2: 0.9, 4: 0.5, 6: 0.6, 8: 0.5, 10: 0.7, 12: 0.1})
    assert (trained.step, trained.ended) == (10, "callback")
    np.testing.assert_array_equal(kept, stop.weights[4])
    assert said == ["the held-out loss was lowest at step 4: 0.5000, whose weights are kept"]


def test_a_loss_that_still_falls_is_said(tmp_path):
    trained, stop, kept, said = train(tmp_path, {2: 0.9, 4: 0.5, 6: 0.4})
    assert (trained.step, trained.ended) == (6, "steps")
    np.testing.assert_array_equal(kept, stop.weights[6])
    assert said == [
        "the held-out loss was lowest at step 6: 0.4000, and still falling at the end: more epochs "
        "may help"
    ]


def test_the_last_step_keeps_the_best_too(tmp_path):
    trained, stop, kept, _ = train(tmp_path, {2: 0.3, 4: 0.5})
    assert trained.step == 4
    np.testing.assert_array_equal(kept, stop.weights[2])


def test_a_training_that_was_interrupted_goes_on_as_it_would_have(tmp_path):
    losses = {2: 0.9, 4: 0.5, 6: 0.6, 8: 0.55, 10: 0.7, 12: 0.1}
    train(tmp_path, losses, steps=6)  # ends at step 6, of 12
    (tmp_path / "model/early_stop/losses.jsonl").open("a").write(
        json.dumps({"step": 8, "loss": 0.0}) + "\n"
    )  # after the checkpoint
    trained, stop, kept, _ = train(tmp_path, losses)
    assert trained.step == 10
    whole = tmp_path / "whole"
    whole.mkdir()
    _, other, best, _ = train(whole, losses)
    np.testing.assert_array_equal(kept, best)
    assert stop.losses == other.losses


def test_the_held_out_loss_is_the_weighted_sum_of_the_objectives_means(tmp_path):
    spec = make_spec()
    data = Data(write_data(tmp_path), spec)
    estimator = make_estimator(tmp_path, steps=1)
    estimator.train()
    model = estimator.load()
    rows = data.held_out_input(batch_size=7, held_out=0.25)
    found = HeldOutLoss(model)(rows(CONTEXT), {"ctr": 2.0, "cvr": 0.5})
    whole = next(iter(data.held_out_input(batch_size=1000, held_out=0.25)(CONTEXT)))
    p = {
        name: np.exp(q.log_p.numpy().astype(float))
        for name, q in model(whole["ids"], whole["dense"]).items()
    }
    click, convert = whole["click"].numpy(), whole["convert"].numpy()

    def entropy(p, y):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    known, clicked = click >= 0, (click == 1) & (convert >= 0)
    expected = 2 * entropy(p["ctr"][known], click[known]) + 0.5 * entropy(
        p["cvr"][clicked], convert[clicked]
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_held_out_rows_are_the_first_of_each_shard_and_not_trained_on(tmp_path):
    data = Data(write_data(tmp_path, train=20, shards=2), make_spec())
    held_out = [
        i
        for batch in data.held_out_input(batch_size=3, held_out=0.25)(CONTEXT)
        for i in batch["id"].numpy().tolist()
    ]
    assert held_out == [b"0", b"1", b"2", b"10", b"11", b"12"]  # ⌈.25 · 10⌉ of each
    trained = data.train_input(batch_size=14, shuffle_buffer=100, seed=1, held_out=0.25)(CONTEXT)
    assert sorted(int(i) for i in next(iter(trained))["id"].numpy()) == [
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        13,
        14,
        15,
        16,
        17,
        18,
        19,
    ]
