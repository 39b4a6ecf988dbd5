"""The outer loop: a resumed training ends as an undisturbed one, and a directory keeps its run."""

import json

import numpy as np
import pytest
import tensorflow as tf
from model_data import FEATURES, Run, make_estimator, make_model, make_spec, make_train, write_data

from features.errors import FunnelError
from model.estimator.estimator import RankingEstimator
from model.estimator.session import Trained
from model.training import precision
from model.training.progress import Windows


class Killed(Exception):
    pass


def weights(estimator) -> dict[str, np.ndarray]:
    """Every variable of the latest checkpoint, optimizers' and step included; the input's position
    is not a number.
    """
    reader = tf.train.load_checkpoint(str(estimator.checkpoint_dir))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("state/")]
    return {name: reader.get_tensor(name) for name in names}


def kill_at(step):
    def callback(progress):
        if progress.step >= step:
            raise Killed

    return callback


def assert_equal(one, other):
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture
def folder(tmp_path):
    write_data(tmp_path)
    return tmp_path


def test_interrupted_and_resumed_is_undisturbed(folder, tmp_path):
    settings = {"steps": 20, "checkpoint_every": 7, "log_every": 7}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/data").symlink_to(folder / "data")
    undisturbed, interrupted = (
        make_estimator(tmp_path / "other", **settings),
        make_estimator(folder, **settings),
    )
    undisturbed.train()
    with pytest.raises(Killed):
        interrupted.train(
            kill_at(14)
        )  # seen before the checkpoint of step 14 is written: 7 is the latest
    assert tf.train.latest_checkpoint(interrupted.checkpoint_dir).endswith("-7")
    again = make_estimator(folder, **settings)
    again.train()
    assert len(weights(again)) > 20
    assert_equal(weights(undisturbed), weights(again))
    assert_equal(undisturbed.predict(), again.predict())


def test_the_same_seed_gives_the_same_bits_and_another_does_not(folder):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (folder / name).mkdir()
        (folder / name / "data").symlink_to(folder / "data")
        estimator = make_estimator(folder / name, model=make_model("shared_bottom"), seed=seed)
        estimator.train()
        results.append(estimator.predict()["p_ctr"])
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).all()


def test_reports_and_metrics(folder):
    seen = []
    estimator = make_estimator(
        folder, model=make_model("shared_bottom", "esmm"), steps=6, log_every=4, checkpoint_every=5
    )
    trained = estimator.train(seen.append)
    results = estimator.evaluate()
    assert [(report.step, report.total) for report in seen] == [(4, 6), (6, 6)]
    assert trained == Trained(6, "steps", seen[-1])
    assert set(trained.report.losses) == {"ctr", "ctcvr"}
    assert trained.report.learning_rates == pytest.approx({"dense": 0.001, "tables": 0.05})
    assert set(trained.report.touched) == {"embeddings_0/2", "embeddings_0/4"}
    assert 0 <= trained.report.waiting <= 1 < trained.report.rows_per_second
    assert {name: r["rows"] for name, r in results.items()} == sample_space_rows(estimator)
    assert set(json.loads((folder / "model/reliability.json").read_text())) == {
        "ctr",
        "cvr",
        "ctcvr",
    }


def test_losses_are_means_over_windows_of_steps():
    windows = Windows()
    reports = [(4, 40.0), (2, 10.0), (1, 6.0), (1, 8.0), (4, 12.0), (1, 1.0)]
    means = [windows.mean(np.array([sums]), steps, every=4)[0] for steps, sums in reports]
    assert means == [
        40 / 4,
        (10 + 40) / 6,  # 2 steps are fewer than 4, so the 4 before them count too
        (6 + 10 + 40) / 7,
        (8 + 6 + 10) / 4,  # the last three reports are 4 steps
        12 / 4,
        (1 + 12) / 5,
    ]
    assert Windows().mean(np.array([6.0]), 2, every=4).tolist() == [3.0]  # all that there are


@pytest.mark.parametrize("stops", [[6], [5, 6]])
def test_the_last_report_covers_a_full_window(folder, stops):
    """With a report every 4 steps, 6 are a window and a half; an evaluation cuts it once more."""
    (folder / "each").mkdir()
    (folder / "each/data").symlink_to(folder / "data")
    options = {"model": make_model("shared_bottom"), "steps": 6}
    each, seen = [], []
    make_estimator(folder / "each", log_every=1, **options).train(
        lambda report: each.append(list(report.losses.values()))
    )
    estimator = make_estimator(folder, log_every=4, **options)
    for stop in stops:
        trained = RankingEstimator.train(
            estimator, estimator.train_input, max_steps=stop, callbacks=[seen.append]
        )
    assert [report.step for report in seen] == [4, *stops]
    for report in seen:
        expected = np.mean(each[: report.step], axis=0)  # each goes back to the first step
        np.testing.assert_allclose(list(report.losses.values()), expected, rtol=1e-5)
    assert trained.report.losses == seen[-1].losses


def sample_space_rows(estimator) -> dict[str, int]:
    rows = estimator.predict()
    click, convert = rows["click"], rows["convert"]
    joint_known = (click == 0) | (convert == 0) | ((click == 1) & (convert == 1))
    return {
        "ctr": (click >= 0).sum(),
        "cvr": ((click == 1) & (convert >= 0)).sum(),
        "ctcvr": joint_known.sum(),
    }


def test_predictions_are_of_every_row_in_order(folder):
    estimator = make_estimator(folder, model=make_model("shared_bottom"), steps=1)
    estimator.train()
    found = estimator.predict()
    assert set(found) == {"id", "click", "convert", "p_ctr", "p_cvr", "p_ctcvr"}
    assert found["id"].tolist() == [str(n).encode() for n in range(200, 260)]


@pytest.mark.parametrize("call", ["evaluate", "predict", "load"])
def test_without_a_checkpoint(folder, call):
    with pytest.raises(
        FunnelError, match=r"model/checkpoints: holds no checkpoint; run `funnel train` first"
    ):
        getattr(make_estimator(folder), call)()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    make_estimator(folder, steps=2).train()
    return folder


def test_another_architecture_is_refused_with_the_place(trained):
    with pytest.raises(
        FunnelError,
        match=(
            r"belong to another model: sharing\.experts was 2 and is 3; train from scratch with "
            r"--force"
        ),
    ):
        make_estimator(trained, model=make_model("mmoe", experts=3))


def test_another_dimension_is_refused_with_the_place(trained):
    spec = make_spec(features=FEATURES | {"tags": FEATURES["tags"] | {"dim": 5}})
    with pytest.raises(
        FunnelError, match=r"belong to another spec: features\.tags\.dim was 2 and is 5"
    ):
        make_estimator(trained, spec)


def test_another_order_is_another_model(trained, tmp_path):
    # Equal shapes, but rows and columns would change their meaning.
    spec = make_spec(features=dict(reversed(FEATURES.items())))
    write_data(tmp_path, spec)
    (tmp_path / "model").symlink_to(trained / "model")
    with pytest.raises(
        FunnelError,
        match=r"belong to another spec: order of features was user, item, .* and is age, price",
    ):
        make_estimator(tmp_path, spec)


@pytest.mark.parametrize(
    ("change", "place"),
    [({"batch_size": 8}, "batch_size was 16 and is 8"), ({"seed": 5}, "seed was 1 and is 5")],
)
def test_another_course_is_refused_when_resuming(trained, change, place):
    estimator = make_estimator(trained, **({"steps": 3} | change))
    with pytest.raises(FunnelError, match=f"belong to another train: {place}"):
        estimator.train()
    assert estimator.evaluate()["ctr"]["rows"] > 0  # which scoring need not know


def test_more_steps_go_on(trained):
    estimator = make_estimator(trained, steps=3, log_every=1)
    seen = []
    estimator.train(lambda report: seen.append(report.step))
    assert seen == [3]


def test_another_input_is_refused_and_the_same_made_again_goes_on(folder):
    estimator = make_estimator(folder, model=make_model("shared_bottom"))
    assert estimator.train().step == 4

    def another(context):
        return estimator.train_input(context).take(100)

    said = (
        r"checkpoints/ckpt-4: the saved iterator state does not match input_fn \(.*FiniteTake\): "
        r".* directory, with warm_start"
    )
    with pytest.raises(FunnelError, match=said):
        RankingEstimator.train(estimator, another, steps=2)
    again = estimator.data.train_input(batch_size=16, shuffle_buffer=50, seed=1)
    assert RankingEstimator.train(estimator, again, steps=2).step == 6


def on_a_machine_with(monkeypatch, bfloat16):
    """What "auto" finds there."""
    monkeypatch.setattr(precision, "_bfloat16", lambda: bfloat16)


def test_another_machines_mode_is_refused_with_what_to_set(folder, monkeypatch):
    unset = {"precision": "auto", "model": make_model("shared_bottom")}
    on_a_machine_with(monkeypatch, "AMX")
    make_estimator(folder, steps=2, **unset).train()
    on_a_machine_with(monkeypatch, "")
    said = (
        r'trained with train\.precision = "bfloat16" and train\.xla = false, and this machine '
        r"would resume with "
        r'train\.precision = "float32" and train\.xla = false: '
        r'set train\.precision = "bfloat16" and train\.xla = false, or train from scratch with '
        r"--force"
    )
    with pytest.raises(FunnelError, match=said):
        make_estimator(folder, steps=3, **unset).train()
    assert (
        make_estimator(folder, steps=3, **(unset | {"precision": "bfloat16", "xla": False}))
        .train()
        .step
        == 3
    )
    on_a_machine_with(monkeypatch, "AMX")
    assert make_estimator(folder, steps=4, **unset).train().step == 4


def test_a_run_without_checkpoint_binds_nothing(folder):
    with pytest.raises(Killed):
        make_estimator(folder, log_every=1).train(kill_at(1))
    fitted = json.loads((folder / "data/fitted.json").read_text())
    fitted["moments"]["age"][0] = 7.0
    (folder / "data/fitted.json").write_text(json.dumps(fitted))
    assert make_estimator(folder, model=make_model("ple")).fitted.moments["age"][0] == 7.0


@pytest.mark.parametrize(
    ("settings", "rows", "steps"),
    [
        ({"steps": 7}, 1000, 7),
        ({"epochs": 1}, 1000, 62),  # 1000 / 16 = 62.5, rounded to even
        ({"epochs": 3}, 1000, 188),  # 187.5
        ({"epochs": 0.5}, 1000, 31),  # 31.25
        ({"epochs": 1}, 3, 1),
    ],
)
def test_total_steps(settings, rows, steps):
    assert make_train(**({"steps": None} | settings)).total_steps(rows) == steps


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(
        FunnelError, match=r"steps = 5 and epochs = 2\.0 both say how long to train"
    ):
        make_train(steps=5, epochs=2)


def test_a_new_training_that_cannot_begin_leaves_the_old_one(tmp_path):
    write_data(tmp_path)
    make_estimator(tmp_path, steps=2).train()
    spec, folders = make_spec(), (tmp_path / "data", tmp_path / "model")
    with pytest.raises(FunnelError, match=r"train\.cpu_devices = 99, but TensorFlow already runs"):
        Run(*folders, spec, make_model("ple"), cpu_devices=99, from_scratch=True).train()
    assert make_estimator(tmp_path, steps=2).evaluate()["ctr"]["rows"] > 0
    Run(*folders, spec, make_model("ple"), steps=1, from_scratch=True).train()
    with pytest.raises(FunnelError, match="its checkpoints belong to another model"):
        make_estimator(tmp_path, steps=2)


def test_a_linked_model_directory_is_written_through(tmp_path):
    write_data(tmp_path)
    (tmp_path / "model").symlink_to(tmp_path / "disk" / "model")  # which is absent
    make_estimator(tmp_path, steps=2).train()
    new = make_estimator(tmp_path, steps=1, model=make_model("ple"), from_scratch=True)
    new.train()
    assert (tmp_path / "model").is_symlink()
    assert sorted(p.stem for p in (tmp_path / "disk/model/checkpoints").glob("*.index")) == [
        "ckpt-1",
        "ckpt-1.iterator-00000",
    ]


def test_a_new_training_without_its_input_leaves_the_old_one(tmp_path):
    write_data(tmp_path)
    make_estimator(tmp_path, steps=2).train()
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()
    }

    def gone(context):
        raise FunnelError("the input is gone")

    new = make_estimator(tmp_path, model=make_model("ple"), from_scratch=True)
    with pytest.raises(FunnelError, match="the input is gone"):
        RankingEstimator.train(new, gone, max_steps=1)
    assert {
        path.name: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()
    } == before
    assert RankingEstimator.train(new, new.train_input, max_steps=1).step == 1  # still from scratch
    assert make_estimator(tmp_path, model=make_model("ple")).latest_step() == 1
