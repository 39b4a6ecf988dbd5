"""`funnel train` on a small preprocessed directory: its devices, what it publishes, when it stops,
and what a signal leaves behind.
"""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
import tomli_w
from model_data import FEATURES, LABELS, TASKS, lines, write_data

from funnel.cli import main as cli
from funnel.config.config import load
from funnel.console import text
from funnel.stages import run as stages
from funnel.stages.training import Run
from model.estimator.estimator import RankingEstimator
from model.estimator.session import Session

TRAIN = {
    "batch_size": 16,
    "steps": 8,
    "log_every": 2,
    "precision": "float32",
    "xla": False,
    "async_checkpoints": False,
}
MODEL = {
    "sharing": {"name": "shared_bottom", "units": [4]},
    "funnel": {"name": "esmm", "tower_units": [3]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: my.toml, whose run in run/ has data."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "run")
    sections = {
        "run": "run",
        "features": FEATURES,
        "labels": LABELS,
        "tasks": TASKS,
        "train": TRAIN,
        "model": MODEL,
    }
    (tmp_path / "my.toml").write_text(tomli_w.dumps(sections))
    return tmp_path


def sets(*changes):
    return [part for change in changes for part in ("--set", change)]


def start(*arguments):
    path = os.pathsep.join(p for p in sys.path if p)
    command = [sys.executable, "-m", "funnel", *arguments]
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tags(directory):
    found = set()
    for path in directory.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            found |= {
                value.tag for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
            }
    return found


def versions(directory):
    return [path.name for path in directory.iterdir() if path.name.isdigit()]


def signalled(real):
    """`real`, during which SIGTERM comes."""

    def call(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    return call


def test_a_replica_on_each_device_with_tensorboard_on(folder):
    process = start("train", "my.toml", *sets("train.cpu_devices=2"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "replicas: 2" in out
    assert {"loss/ctr", "loss/ctcvr"} <= tags(folder / "run/model/tensorboard")


def test_a_training_from_scratch_keeps_its_own_events_alone(folder):
    assert cli.main(["train", "my.toml"]) == 0
    first = {path.name for path in (folder / "run/model/tensorboard").iterdir()}
    assert cli.main(["train", "my.toml", "--force"]) == 0
    second = {path.name for path in (folder / "run/model/tensorboard").iterdir()}
    assert not first & second
    assert "loss/ctr" in tags(folder / "run/model/tensorboard")
    assert [line["step"] for line in lines(folder / "run/model/metrics.jsonl")] == [2, 4, 6, 8]


def test_the_command_prints_the_last_line_of_the_log(folder, capsys):
    assert cli.main(["train", "my.toml", *sets("train.log_every=3")]) == 0
    last = lines(folder / "run/model/metrics.jsonl")[-1]
    assert last["step"] == 8  # two steps after the last full window
    shown = ", ".join(f"{name} {text(loss)}" for name, loss in last["loss"].items())
    assert f"  loss {shown} → run/model\n" in capsys.readouterr().out


def test_one_that_is_refused_leaves_the_log(folder, capsys):
    assert cli.main(["train", "my.toml"]) == 0
    before = (folder / "run/model/metrics.jsonl").read_text()
    assert (
        cli.main(["train", "my.toml", "--force", *sets("train.cpu_devices=3")]) == 2
    )  # of a process that has one
    assert "train.cpu_devices = 3" in capsys.readouterr().err
    assert (folder / "run/model/metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_evaluation_exporters_and_their_files(folder):
    changes = ["evaluation.every=3", "exporters.latest={keep=2}", "exporters.final={}"]
    changes.append(
        'exporters.best={metric="ctr auc", provided=["ctr logloss < 0"]}'
    )  # a condition that never holds
    trained = Run(load(folder / "my.toml", changes)).train()
    assert (trained.step, trained.ended) == (8, "steps")
    made = folder / "run/exporters"
    assert [len(versions(made / name)) for name in ("latest", "final")] == [2, 1]
    assert not (made / "best").exists()
    evaluated = [
        line["step"] for line in lines(folder / "run/model/metrics.jsonl") if "evaluation" in line
    ]
    assert evaluated == [3, 6, 8]
    changes[-1] = 'exporters.best={metric="ctr auc", provided=["ctr logloss > 0"]}'
    Run(
        load(folder / "my.toml", changes)
    ).train()  # nothing is left to train: evaluated and published alone
    assert json.loads((made / "best/best.json").read_text())["step"] == 8
    assert len(versions(made / "best")) == 1


@pytest.mark.slow
def test_early_stopping_counts_on_in_a_new_process(folder):
    # nothing improves by so much
    stopping = 'evaluation.early_stopping={metric="ctr auc", patience=2, min_delta=1.0}'
    changes = ["evaluation.every=2", stopping]
    trained = Run(load(folder / "my.toml", [*changes, "train.steps=4"])).train()
    assert (trained.step, trained.ended) == (
        4,
        "steps",
    )  # the first is the best, the second is missed once
    trained = Run(load(folder / "my.toml", [*changes, "train.steps=100"])).train()
    assert (trained.step, trained.ended) == (6, "callback")


@pytest.mark.parametrize("profile", [(1, 3), (5, 5), (4, 6)])
def test_a_profile_of_exactly_these_steps(folder, monkeypatch, profile):
    seen, trainers, real = [], [], Session._loop
    monkeypatch.setattr(
        Session,
        "_loop",
        lambda self, *arguments: trainers.append(self.trainer) or real(self, *arguments),
    )
    for name in ("start", "stop"):
        monkeypatch.setattr(
            tf.profiler.experimental, name, lambda *_: seen.append(trainers[-1].reached)
        )
    Run(load(folder / "my.toml", [f"train.profile={list(profile)}"])).train()
    first, last = profile
    assert seen == [first - 1, last]


@pytest.mark.slow
def test_sigterm_ends_with_a_checkpoint_and_the_command_to_go_on(folder):
    process = start("train", "my.toml", "--force", *sets("train.steps=3000"))
    log = folder / "run/model/metrics.jsonl"
    while process.poll() is None and not log.exists():
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate()
    assert process.returncode == 143, err
    (message,) = err.splitlines()
    step = int(message.split("training was ended at step ")[1].split()[0])
    assert 0 < step < 3000
    assert tf.train.latest_checkpoint("run/model/checkpoints").endswith(f"-{step}")
    command = shlex.split(message.split("to resume: ")[1])
    assert command == ["funnel", "train", "my.toml", "--set", "train.steps=3000"]
    process = start(*command[1:])
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert tf.train.latest_checkpoint("run/model/checkpoints").endswith("-3000")
    assert [line["step"] for line in lines(log)][-1] == 3000


def test_sigterm_before_the_first_step_changes_nothing(folder, monkeypatch, capsys):
    assert cli.main(["train", "my.toml"]) == 0
    before = (folder / "run/.stages.json").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(RankingEstimator, "_begin", signalled(RankingEstimator._begin))
        assert cli.main(["train", "my.toml", "--force"]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: training was ended before its first step by a signal; to resume: "
        "funnel train my.toml --force"
    )
    assert tf.train.latest_checkpoint("run/model/checkpoints").endswith("-8")
    assert (folder / "run/.stages.json").read_text() == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("option", [[], ["--exit-zero-on-signal"]])
def test_a_signal_in_a_training(folder, monkeypatch, capsys, number, code, option):
    real = Session._take_steps

    def steps(session, count, reporter):
        reached = real(session, count, reporter)
        if reached == 4:
            os.kill(os.getpid(), number)
        return reached

    arguments = ["train", "my.toml", *option]
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_take_steps", steps)
        assert cli.main([*arguments, "--json"]) == (0 if option else code)
    out, err = capsys.readouterr()
    ended = f"at step 4 by a signal; to resume: {shlex.join(['funnel', *arguments])} --json"
    if number == signal.SIGINT and not option:
        assert err.splitlines()[-1].startswith("error: interrupted; the same command resumes")
        assert tf.train.latest_checkpoint("run/model/checkpoints") is None
    else:
        start = "· " if option else "error: "
        assert err.splitlines()[-1] == f"{start}training was ended {ended}"
        assert tf.train.latest_checkpoint("run/model/checkpoints").endswith("-4")
    document = {"stage": "train", "ended": "signal", "step": 4}
    assert (json.loads(out) if out else None) == (document if option else None)


@pytest.mark.slow
def test_a_terminal_that_closes_ends_a_training_with_a_checkpoint(folder):
    path = os.pathsep.join(p for p in sys.path if p)
    env = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "funnel", "train", "my.toml", *sets("train.steps=1000000")]
    process, terminal = pty.fork()
    if not process:
        os.execve(sys.executable, command, env)
    log, shown = folder / "run/model/metrics.jsonl", b""
    while not log.exists():
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129, shown
    last = int(tf.train.latest_checkpoint("run/model/checkpoints").rpartition("-")[2])
    assert last == lines(log)[-1]["step"]


@pytest.mark.slow
def test_sigterm_during_an_evaluation_or_export(folder, monkeypatch, capsys):
    arguments = ["train", "my.toml", *sets("evaluation.every=4", "exporters.final={}")]
    for name, step in (("evaluate", 6), ("export_saved_model", 8)):
        with monkeypatch.context() as patched:
            patched.setattr(RankingEstimator, name, signalled(getattr(RankingEstimator, name)))
            assert cli.main(arguments) == 143
        assert (
            f"training was ended at step {step} by a signal; to resume: funnel train"
            in capsys.readouterr().err
        )
        assert tf.train.latest_checkpoint("run/model/checkpoints").endswith(f"-{step}")
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert "signal" not in shown.out + shown.err
    assert json.loads((folder / "run/.stages.json").read_text())["train"]["done"]


@pytest.mark.parametrize(
    ("change", "starts_over", "goes_on"),
    [
        ("train.steps=9", False, True),
        ("exporters.final={}", False, True),
        ("evaluation.every=3", False, True),
        ('evaluation={every=3, early_stopping={metric="ctr auc"}}', False, True),
        ("evaluation.truth=truth.parquet", False, False),
        ("train.log_every=3", False, False),
        (
            'train.precision="auto"',
            False,
            True,
        ),  # which may come to the same: the estimator refuses what does not
        ("train.xla=true", False, True),
        ("train.xla=false", False, False),
        ("train.clip_norm=1.0", True, False),
        ("train.seed=2", True, False),
        ("features.user.dim=2", True, False),
        ("model.sharing.units=[5]", True, False),
        ("warm_start.run=runs/2026-11-07", True, False),
        ("data=elsewhere", True, False),
    ],
)
def test_what_a_training_starts_over_for(folder, change, starts_over, goes_on):
    before, after = (
        stages.stage_key(load(folder / "my.toml", changes), "train") for changes in ([], [change])
    )
    assert [one != other for one, other in zip(before, after, strict=True)] == [
        starts_over,
        goes_on,
    ]


def test_another_early_stopping_is_another_training(folder):
    changes = [
        f'evaluation={{every=3, early_stopping={{metric="ctr auc", patience={patience}}}}}'
        for patience in (1, 2)
    ]
    one, other = (
        stages.stage_key(load(folder / "my.toml", [change]), "train") for change in changes
    )
    assert (one[0] == other[0], one[1] == other[1]) == (True, False)
