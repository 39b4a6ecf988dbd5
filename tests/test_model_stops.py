"""Why a training ends: losses that are not finite, an exhausted input, a callback; and checkpoints
by the clock.
"""

import re

import pytest
import tensorflow as tf
from model_data import DWELL, make_estimator, make_model, make_spec, write_data

from features.errors import FunnelError
from model.estimator.estimator import RankingEstimator
from model.estimator.exporters import BestExporter, FinalExporter
from model.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate

SPEC = make_spec(**DWELL)


def spoilt(estimator, column, value, at):
    """The estimator's input with `value` in row 3 of one column: a name, or (a feature's slot of
    `dense`).
    """

    def spoil(batch):
        tensor = batch[column]
        place = [[3, at]] if at is not None else [[3]]
        return batch | {
            column: tf.tensor_scatter_nd_update(tensor, place, tf.constant([value], tensor.dtype))
        }

    return lambda context: estimator.train_input(context).map(spoil)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_the_objective_and_the_label_are_named(tmp_path, value):
    write_data(tmp_path, SPEC, labels={"click": 1})
    estimator = make_estimator(tmp_path, SPEC)
    said = (
        r"(the loss of dwell is (inf|nan)|gradients are not finite) in step \d: label 'dwell' is "
        rf"{value} in row 3 of the batch"
    )
    with pytest.raises(FunnelError, match=said):
        RankingEstimator.train(estimator, spoilt(estimator, "dwell", value, None), max_steps=2)


@pytest.mark.parametrize(
    "precision", ["float32", "float16"]
)  # whose scale is halved 15 times before
def test_the_feature_is_named(tmp_path, precision):
    spec = make_spec()
    write_data(tmp_path, spec)
    estimator = make_estimator(tmp_path, spec, precision=precision)
    slot = spec.dense_slots["age"].start
    with pytest.raises(
        FunnelError,
        match=(
            r"(the loss of ctr is nan|gradients are not finite) in step \d+: feature 'age' is inf "
            r"in row 3 of the batch"
        ),
    ):
        RankingEstimator.train(
            estimator, spoilt(estimator, "dense", float("inf"), slot), max_steps=20
        )
    assert estimator.latest_step() == 0


def test_weights_that_diverge_are_told_from_bad_data(tmp_path):
    write_data(tmp_path)
    estimator = make_estimator(
        tmp_path,
        steps=50,
        learning_rate=1e30,
        optimizer="sgd",
        embedding_optimizer="sgd",
        embedding_learning_rate=1e30,
    )
    with pytest.raises(
        FunnelError,
        match=(
            r"all features and labels of the batch are finite, so the weights diverged.*: lower "
            r"train\.learning_rate = 1e\+30"
        ),
    ):
        estimator.train()


def test_an_exhausted_input_ends_it_with_a_checkpoint(tmp_path):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path)
    trained = RankingEstimator.train(
        estimator, lambda context: estimator.train_input(context).take(3), max_steps=10
    )
    assert (trained.step, trained.ended, estimator.latest_step()) == (3, "data", 3)


def test_steps_are_counted_on(tmp_path):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path)
    ends = [
        RankingEstimator.train(estimator, estimator.train_input, steps=2).step for _ in range(3)
    ]
    assert ends == [2, 4, 6]
    with pytest.raises(FunnelError, match="give exactly one of them"):
        RankingEstimator.train(estimator, estimator.train_input)


def test_checkpoints_by_the_clock(tmp_path):
    write_data(tmp_path)
    make_estimator(
        tmp_path, steps=40, checkpoint_minutes=1e-9, keep_checkpoints=100, log_every=5
    ).train()
    saved = {
        int(re.search(r"ckpt-(\d+)", path.name).group(1))
        for path in (tmp_path / "model/checkpoints").glob("*.index")
    }
    assert len(saved) >= 8
    assert max(saved) == 40


def test_in_the_background_they_are_the_same(tmp_path):
    for name, background in (("front", False), ("back", True)):
        write_data(tmp_path / name)
        make_estimator(
            tmp_path / name, steps=6, checkpoint_every=2, async_checkpoints=background
        ).train()
    front, back = (tmp_path / name / "model/checkpoints" for name in ("front", "back"))
    assert sorted(p.name for p in front.iterdir()) == sorted(p.name for p in back.iterdir())
    for step in (2, 4, 6):
        one, other = (
            tf.train.load_checkpoint(str(folder / f"ckpt-{step}")) for folder in (front, back)
        )
        names = [name for name in one.get_variable_to_shape_map() if name.startswith("state/")]
        assert names
        assert all((one.get_tensor(name) == other.get_tensor(name)).all() for name in names)


def plain(folder, **train):
    """(the estimator as users make it, its inputs)."""
    write_data(folder)
    run = make_estimator(folder, **train)
    return (
        RankingEstimator(run.config, run.model_dir, run.run_config, warn=print),
        run.train_input,
        run.eval_input,
    )


@pytest.mark.slow
def test_train_and_evaluate_publishes_what_is_best(tmp_path):
    estimator, train_input, eval_input = plain(tmp_path, checkpoint_every=1000)
    seen = []
    exporters = [
        BestExporter(tmp_path / "best", metric="ctr auc"),
        FinalExporter(tmp_path / "final"),
    ]
    eval_spec = EvalSpec(
        eval_input, 3, exporters, [lambda p: seen.append((p.step, p.metrics["ctr"]["auc"]))]
    )
    trained, metrics = train_and_evaluate(estimator, TrainSpec(train_input, 7), eval_spec)
    assert (trained.step, trained.ended) == (7, "steps")
    assert [step for step, _ in seen] == [3, 6, 7]
    assert seen[-1][1] == metrics["ctr"]["auc"] == estimator.evaluate(eval_input)["ctr"]["auc"]
    assert len(list((tmp_path / "final").iterdir())) == 1
    assert any(path.is_dir() for path in (tmp_path / "best").iterdir())


def test_an_action_of_the_evaluation_ends_it(tmp_path):
    estimator, train_input, eval_input = plain(tmp_path)
    exported = []
    eval_spec = EvalSpec(
        eval_input,
        2,
        [lambda _, metrics, step, final: exported.append((step, final))],
        [lambda p: p.step >= 4],
    )
    trained, _ = train_and_evaluate(estimator, TrainSpec(train_input, 100), eval_spec)
    assert (trained.step, trained.ended) == (4, "callback")
    assert exported == [(2, False), (4, True)]


def test_going_on_after_an_evaluation_is_as_if_there_had_been_none(tmp_path):
    alone, train_input, _ = plain(tmp_path / "alone")
    alone.train(train_input, max_steps=6)
    watched, train_input, eval_input = plain(tmp_path / "watched")
    train_and_evaluate(watched, TrainSpec(train_input, 6), EvalSpec(eval_input, 2))
    state = watched.load().state
    assert all(
        (state[name].numpy() == value.numpy()).all() for name, value in alone.load().state.items()
    )


def test_the_mode_is_said(tmp_path, capsys):
    write_data(tmp_path)
    make_estimator(tmp_path, model=make_model()).train()
    assert "training in float32 (as configured), replicas: 1" in capsys.readouterr().out
