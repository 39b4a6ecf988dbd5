"""Reports of a training: losses over full windows, and whether they still fall at the end."""

import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from funnel.stages.training import Run
from model.estimator.callbacks.metrics_log import last_fall
from model.training.progress import Reporter
from model.training.trainer import StepsResult

TRAINER = SimpleNamespace(
    objectives=["click"],
    objective_weights={"click": 1.0},
    learning_rates={"dense": 0.001, "tables": 0.05},
    batch_size=16,
    reached=0,
    observe=lambda batch: ({}, {}),
)


def steps(loss: float) -> StepsResult:
    """Of a run of steps whose losses have that mean."""
    return StepsResult(tf.constant([loss]), tf.constant(True), tf.constant(0.0), None)


def test_the_last_report_covers_the_window_before_too_where_it_has_fewer_steps():
    reporter, found = Reporter(TRAINER, total=10, every=4), []
    for loss, reached in ((5.0, 1), (1.0, 4), (0.5, 8), (2.0, 10)):
        reporter.add(steps(loss), reached, seconds=1.0)
        if reached in (4, 8, 10):
            reporter.report([lambda progress: found.append((progress.step, progress.losses))])
    assert found == [
        (4, {"click": 2.0}),  # (5 + 3·1)/4
        (8, {"click": 0.5}),
        (10, {"click": 1.0}),  # (4·0.5 + 2·2)/6
    ]


def test_a_window_that_an_evaluation_cuts_is_added_to_the_one_before():
    reporter, found = Reporter(TRAINER, total=8, every=4), []
    for loss, reached in ((1.0, 4), (4.0, 6), (2.0, 8)):
        reporter.add(steps(loss), reached, seconds=1.0)
        reporter.report([lambda progress: found.append(progress.losses["click"])])
    assert found == [1.0, 2.0, 3.0]  # (4·1 + 2·4)/6, (2·4 + 2·2)/4


def log(path, losses: dict[int, float]):
    """metrics.jsonl of a run with two objectives; the second one's weight is 2."""
    found = [
        {"step": step, "loss": {"a": loss, "b": 0.25}, "weight": {"a": 1, "b": 2}}
        for step, loss in losses.items()
    ]
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ({4: 1.0, 8: 0.5, 10: 9.0}, (8, 1.5, 1.0)),  # the last line is not a window of its own
        ({4: 1.0, 8: 0.99}, (8, 1.5, 1.49)),
        ({4: 1.0}, None),
    ],
)
def test_the_fall_between_the_last_two_full_windows(tmp_path, losses, found):
    assert last_fall(log(tmp_path / "model", losses) / "metrics.jsonl", 4) == found


@pytest.mark.parametrize(
    ("last", "early_stop", "said"), [(0.5, False, True), (0.99, False, False), (0.5, True, False)]
)
def test_a_loss_that_still_falls_by_one_percent_is_said(tmp_path, last, early_stop, said):
    run = SimpleNamespace(
        model_dir=log(tmp_path / "model", {4: 1.0, 8: last}),
        config=SimpleNamespace(run_config=SimpleNamespace(log_every=4)),
        ranking=SimpleNamespace(train=SimpleNamespace(early_stop=early_stop)),
    )
    message = Run.still_falling(run)
    assert (message is not None) == said
    if message:
        assert message == (
            "the training loss was still falling at step 8: 1.5000 → 1.0000 over the last 4 steps; "
            "more epochs may help, and train.early_stop = true finds out"
        )
