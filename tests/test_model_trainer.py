"""The inner loop: losses over sample spaces, and what a step touches."""

import time

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_model, make_spec, make_train

from features.fitted import Fitted
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

SPEC = make_spec()
FITTED = Fitted(moments=dict.fromkeys(SPEC.numeric, (0.0, 1.0)))


def make_trainer(funnel="esmm"):
    return Trainer(
        SPEC, make_model("shared_bottom", funnel), make_train(), FITTED, make_strategy(None)
    )


def make_batch(click: list[int], convert: list[int]) -> dict[str, tf.Tensor]:
    rows = len(click)
    ids = np.random.default_rng(0).integers(0, 20, [rows, SPEC.ids_width])
    dense = tf.fill([rows, SPEC.dense_width], 0.5)
    return {
        "ids": tf.constant(ids),
        "dense": dense,
        "click": tf.constant(click, tf.int64),
        "convert": tf.constant(convert, tf.int64),
    }


def run(trainer: Trainer, batch: dict[str, tf.Tensor], steps: int = 1) -> dict[str, float]:
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    losses = trainer.steps(batches, tf.constant(steps, tf.int64)).losses.numpy().tolist()
    return dict(zip(trainer.objectives, losses, strict=True))


def test_a_batch_without_clicks_leaves_cvr_where_it_was():
    trainer = make_trainer("independent")
    tower = [w for w in trainer.model.weights if "tower_cvr" in w.path or "logit_cvr" in w.path]
    before = [w.numpy().copy() for w in tower]
    losses = run(trainer, make_batch([0] * 8, [0] * 8))
    assert losses["cvr"] == 0
    assert losses["ctr"] > 0
    for weight, value in zip(tower, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("funnel", ["independent", "esmm"])
def test_a_batch_without_known_labels_changes_nothing(funnel):
    trainer = make_trainer(funnel)
    before = {name: v.numpy().copy() for name, v in trainer.model.state.items()}
    assert set(run(trainer, make_batch([-1] * 4, [-1] * 4)).values()) == {0.0}
    for name, variable in trainer.model.state.items():
        np.testing.assert_array_equal(variable, before[name])


def test_the_loss_is_the_mean_over_the_sample_space():
    trainer = make_trainer("independent")
    batch = make_batch(
        [1, 0, 0, 0, 1, 1, -1, 1], [1, 0, 0, 0, 0, -1, -1, 1]
    )  # 3 clicks have a known conversion
    scores = {
        name: p.numpy().astype(float)
        for name, p in trainer.model.scores(batch["ids"], batch["dense"]).items()
    }
    losses = run(trainer, batch)
    for name, label, rows in (
        ("ctr", "click", [0, 1, 2, 3, 4, 5, 7]),
        ("cvr", "convert", [0, 4, 7]),
    ):
        y, p = batch[label].numpy()[rows], scores[f"p_{name}"][rows]
        assert losses[name] == pytest.approx(
            -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), rel=1e-5
        )


def test_a_row_of_weight_3_counts_as_three_rows():
    once = make_batch([1, 0, 0], [0, 0, 0]) | {"weight": tf.constant([1.0, 1.0, 3.0])}
    thrice = {
        name: tf.gather(tensor, [0, 1, 2, 2, 2])
        for name, tensor in once.items()
        if name != "weight"
    }
    weighted, repeated = make_trainer("independent"), make_trainer("independent")
    assert run(weighted, once) == pytest.approx(run(repeated, thrice), rel=1e-6)
    for name, variable in repeated.model.state.items():
        np.testing.assert_allclose(weighted.model.state[name], variable, atol=1e-6)


def test_losses_are_means_over_the_steps():
    batch = make_batch([1, 0, 1, 0], [1, 0, 0, 0])
    together, apart = make_trainer(), make_trainer()
    means = run(together, batch, steps=3)
    single = [run(apart, batch) for _ in range(3)]
    for name, mean in means.items():
        assert mean == pytest.approx(np.mean([s[name] for s in single]), rel=1e-5)


def test_a_step_touches_only_the_rows_of_its_batch():
    trainer, batch = make_trainer(), make_batch([1, 0, 1, 0], [1, 0, 0, 0])
    before = [t.variable.numpy().copy() for t in trainer.model.tables]
    run(trainer, batch)
    embeddings = trainer.model.embeddings[0]
    rows = [
        batch["ids"].numpy()[:, embeddings.slots[dim]] + embeddings.offsets[dim]
        for dim in embeddings.tables
    ]
    rows += [
        own + offset for own, offset in zip(rows, trainer.model.wide.offsets.values(), strict=True)
    ]
    for table, own, old in zip(trainer.model.tables, rows, before, strict=True):
        changed = set(np.flatnonzero((table.variable.numpy() != old).any(1)))
        assert changed
        assert changed <= set(own.ravel())


def test_a_slow_input_is_waited_for():
    def slowly(batch):
        with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.05), [], [])]):
            return {name: tf.identity(tensor) for name, tensor in batch.items()}

    batches = iter(tf.data.Dataset.from_tensors(make_batch([1, 0], [1, 0])).repeat().map(slowly))
    assert float(make_trainer().steps(batches, tf.constant(4, tf.int64)).waited) > 0.15


@pytest.mark.parametrize(("scale", "bad"), [(2.0, False), (1.0, True)])
def test_gradients_that_overflow_end_float16_where_its_scale_is_at_its_minimum(scale, bad):
    settings = make_train(precision="float16", optimizer="sgd")
    trainer = Trainer(
        SPEC, make_model("shared_bottom", "esmm"), settings, FITTED, make_strategy(None)
    )
    trainer.updates.loss_scale.value.assign(scale)
    trainer.backward.model.regularization = lambda: (
        tf.add_n([tf.reduce_sum(w.value) for w in trainer.model.weights]) * float("inf") * 0.0
    )
    before = {name: v.numpy().copy() for name, v in trainer.model.state.items()}
    batches = iter(tf.data.Dataset.from_tensors(make_batch([1, 0], [1, 0])).repeat())
    result = trainer.steps(batches, tf.constant(1, tf.int64))
    assert (bool(np.isfinite(result.losses).all()), bool(result.finite)) == (True, not bad)
    for name, variable in trainer.model.state.items():
        np.testing.assert_array_equal(variable, before[name])
