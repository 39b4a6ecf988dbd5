"""`funnel` in several processes by TF_CONFIG: all train as one would, and the first alone writes
what there is one of.
"""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import tomli_w
from model_data import FEATURES, LABELS, TASKS, lines, write_data
from test_funnel_training import sets
from test_model_estimator import weights
from test_model_workers import free_port

from funnel.cli import main as cli
from funnel.config.config import load
from funnel.stages.training import Run

PROGRAM = """
import sys
from pathlib import Path

def report(event, arguments):  # Python's writes in the run's directory, not TensorFlow's
    if event == "open" and str(arguments[1])[0] in "wax" and "two" in Path(str(arguments[0])).parts:
        print("writes", Path(arguments[0]).name)

sys.addaudithook(report)
from funnel.cli.main import program
program()
"""
# With a buffer of one row the shards' rows alternate: two workers of a shard each take together the
# batch that one process takes.
TRAIN = {
    "batch_size": 16,
    "steps": 20,
    "log_every": 5,
    "shuffle_buffer": 1,
    "precision": "float32",
    "learning_rate": 0.01,
}
MODEL = {
    "sharing": {"name": "shared_bottom", "units": [4]},
    "funnel": {"name": "esmm", "tower_units": [3]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: one.toml and two.toml, whose runs in one/ and two/ have the same data
    of two shards.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        write_data(tmp_path / name)
        sections = {
            "run": name,
            "features": FEATURES,
            "labels": LABELS,
            "tasks": TASKS,
            "train": TRAIN,
            "model": MODEL,
        }
        (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(sections))
    return tmp_path


def tf_config(index, addresses=("a:1", "b:1")):
    return json.dumps(
        {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    )


@contextmanager
def workers(*arguments):
    """The command as two processes, the first worker's first."""
    addresses, running = [f"127.0.0.1:{free_port()}" for _ in range(2)], []
    for index in range(2):
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "TF_CONFIG": tf_config(index, addresses),
        }
        command = [sys.executable, "-c", PROGRAM, *arguments]
        running.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        yield running
    finally:
        for process in running:
            process.kill()


def ends(running, code=0):
    """The output of each process; all of them ended with this exit code."""
    message = []
    for process in running:
        message.append(process.communicate(timeout=200)[0])
        assert process.returncode == code, message[-1][-2000:]
    return message


@pytest.mark.slow
def test_two_workers_train_as_one_process_and_the_first_alone_writes(folder):
    with workers(
        "train", "two.toml", *sets("evaluation.every=10", "exporters.final={}")
    ) as running:
        message = ends(running)
    assert all("replicas: 2" in output for output in message)
    first, second = (set(re.findall("writes (.*)", output)) for output in message)
    assert {
        "metrics.jsonl",
        ".model.json.unfinished",
        "..stages.json.unfinished",
        ".summary.json.unfinished",
        ".reliability.json.unfinished",
    } <= first
    assert second == set()
    assert [line["step"] for line in lines(folder / "two/model/metrics.jsonl")] == [
        5,
        10,
        10,
        15,
        20,
        20,
    ]  # 10 and 20 were evaluated too
    assert len(list((folder / "two/model/tensorboard").iterdir())) == 1
    assert [path.name.isdigit() for path in (folder / "two/exporters/final").iterdir()] == [True]
    assert json.loads((folder / "two/.stages.json").read_text())["train"]["done"]

    one, two = Run(load(folder / "one.toml")), Run(load(folder / "two.toml"))
    assert one.train().step == 20
    expected, found = weights(one.estimator), weights(two.estimator)
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_sigterm_to_one_of_them_ends_all_at_one_step(folder, index):
    log = folder / "two/model/metrics.jsonl"
    with workers("train", "two.toml", *sets("train.steps=100000")) as running:
        while not log.exists() and running[0].poll() is None:
            time.sleep(0.05)
        running[index].terminate()
        last = [output.splitlines()[-1] for output in ends(running, 143)]
    step = lines(log)[-1]["step"]
    expected = (
        f"error: training was ended at step {step} by a signal; to resume: funnel train two.toml "
        "--set train.steps=100000"
    )
    assert last == [expected, expected]
    assert (folder / f"two/model/checkpoints/ckpt-{step}.index").exists()


def test_a_run_of_all_stages_is_one_processes(folder, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", tf_config(0))
    assert cli.main(["run", "one.toml"]) == 2
    message = (
        "TF_CONFIG names 2 workers, and each of them would preprocess: run `funnel "
        "preprocess` without TF_CONFIG, then `funnel train`"
    )
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["simulate", "preprocess", "evaluate", "export", "report"])
def test_other_stages_are_left_to_worker_0(folder, monkeypatch, capsys, stage):
    monkeypatch.setenv("TF_CONFIG", tf_config(1))
    assert cli.main([stage, "one.toml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "· reading one.toml",
        f"· {stage:<10}  left to worker 0",
    ]
    assert not (folder / "one/.stages.json").exists()
