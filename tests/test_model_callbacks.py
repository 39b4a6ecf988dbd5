"""Callbacks: what they write, and when they end a training."""

import dataclasses
import json

import pytest
import tensorflow as tf
from model_data import lines, make_estimator, make_model, write_data

from features.errors import FunnelError
from model.estimator.callbacks import EarlyStopping, MetricsLog, Profile, TensorBoard
from model.training.config import RunConfig
from model.training.progress import Progress

REPORT = Progress(
    step=4,
    total=10,
    losses={"ctr": 0.5},
    weights={"ctr": 1.0},
    learning_rates={"dense": 0.001, "tables": 0.05},
    rows_per_second=1000.0,
    waiting=0.25,
    seconds_left=9.0,
    touched={"embeddings_0/4": 7},
    entropies={"level_0/ctr": 0.69},
)


def evaluation(step: int, auc: float | None) -> Progress:
    return dataclasses.replace(REPORT, step=step, metrics={"ctr": {"auc": auc, "logloss": 0.3}})


def test_the_log_has_a_line_for_each_report(tmp_path):
    log = MetricsLog(tmp_path / "new/metrics.jsonl")
    log(dataclasses.replace(REPORT, losses={"ctr": float("nan")}))
    log(evaluation(4, 0.7))
    assert lines(log.path) == [
        {
            "step": 4,
            "loss": {"ctr": None},
            "weight": {"ctr": 1.0},
            "learning_rate": {"dense": 0.001, "tables": 0.05},
            "rows_per_second": 1000.0,
            "waiting": 0.25,
            "touched": {"embeddings_0/4": 7},
            "entropy": {"level_0/ctr": 0.69},
        },
        {"step": 4, "evaluation": {"ctr": {"auc": 0.7, "logloss": 0.3}}},
    ]


def test_the_log_forgets_what_an_interrupted_training_will_do_again(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.forget_after(3)  # there is none yet
    for step in (1, 2, 3, 4):
        log(evaluation(step, 0.5))
    with log.path.open("a") as file:
        file.write('{"step": 5, "eva')  # a process that was killed
    log.forget_after(2)
    assert [line["step"] for line in lines(log.path)] == [1, 2]


def test_tensorboard_gets_every_number(tmp_path):
    board = TensorBoard(tmp_path)
    board(REPORT)
    board(evaluation(5, None))  # an AUC that is not defined
    board.close()
    (path,) = tmp_path.iterdir()
    found = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        found |= {
            value.tag: (event.step, float(tf.make_ndarray(value.tensor)))
            for value in event.summary.value
        }
    assert found == {
        "loss/ctr": (4, 0.5),
        "weight/ctr": (4, 1.0),
        "learning_rate/dense": (4, pytest.approx(0.001)),
        "learning_rate/tables": (4, pytest.approx(0.05)),
        "entropy/level_0/ctr": (4, pytest.approx(0.69)),
        "touched/embeddings_0/4": (4, 7.0),
        "speed/rows_per_second": (4, 1000.0),
        "speed/waiting": (4, 0.25),
        "metric/ctr/logloss": (5, pytest.approx(0.3)),
    }


def test_a_profile_of_some_steps_is_written(tmp_path):
    write_data(tmp_path)
    profile, seen = Profile(tmp_path / "profile", 2, 5), []
    estimator = make_estimator(tmp_path, model=make_model("shared_bottom"), steps=7)
    estimator.train(lambda report: seen.append(report.step), profile)
    assert seen == [1, 5, 7]  # cut before its first step and after its last
    assert [p.suffixes for p in (tmp_path / "profile").rglob("*.pb")] == [[".xplane", ".pb"]]
    profile.close()  # nothing is running any more


def test_tensorboard_opens_no_file_before_a_report(tmp_path):
    board = TensorBoard(tmp_path / "board")
    board.close()
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("steps", [(5, 4), (0, 3)])
def test_a_profile_of_no_steps_is_refused(tmp_path, steps):
    said = (
        rf"profile = \[{steps[0]}, {steps[1]}\]: must be \[first step, last step\], with 1 ≤ first "
        r"≤ last"
    )
    with pytest.raises(FunnelError, match=said):
        Profile(tmp_path, *steps)
    with pytest.raises(FunnelError, match=said):
        RunConfig.parse({"profile": list(steps)}, "train")


def test_early_stopping_counts_evaluations_without_improvement():
    stop = EarlyStopping("ctr auc", patience=2, min_delta=0.01)
    seen = [stop(evaluation(step, auc)) for step, auc in enumerate((0.7, 0.705, 0.72, None, 0.725))]
    assert seen == [False, False, False, False, True]  # .705 and .725 are better by less than .01
    assert stop.best == 0.72
    assert not EarlyStopping("ctr auc")(REPORT)  # a report is not an evaluation


def test_early_stopping_of_a_loss_wants_less():
    stop = EarlyStopping("ctr logloss", patience=1)
    assert [stop(evaluation(step, 0.5)) for step in (1, 2)] == [False, True]


def test_early_stopping_counts_on_after_an_interruption(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step, auc in ((1, 0.7), (2, 0.6)):
        log(REPORT)
        log(evaluation(step, auc))
    stop = EarlyStopping("ctr auc", patience=2)
    stop.resume(log.path)
    assert (stop.best, stop.missed) == (0.7, 1)
    assert stop(evaluation(3, 0.65))


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("auc", "'auc' does not name a metric: write the task and the metric, as in 'ctcvr auc'"),
        ("ctr calibration", "'ctr calibration' has no better direction"),
        ("cvr auc", "'cvr auc' is not measured; these are: ctr: auc, logloss"),
    ],
)
def test_metrics_that_cannot_be_followed(metric, said):
    with pytest.raises(FunnelError, match=said):
        EarlyStopping(metric)(evaluation(1, 0.5))


def test_the_log_of_a_training(tmp_path):
    write_data(tmp_path)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    make_estimator(tmp_path, steps=6, log_every=4).train(log)
    found = lines(log.path)
    assert [line["step"] for line in found] == [4, 6]
    assert all(
        0 < line["touched"]["embeddings_0/4"] <= 16 * 2 for line in found
    )  # two features of that dimension, batches of 16
    assert all(set(line["entropy"]) == {"level_0/ctr", "level_0/cvr"} for line in found)
    json.dumps(found, allow_nan=False)
