"""Trainings that are killed or ended: nothing is lost. This file runs itself as the training."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model_data import lines, make_estimator, make_model, write_data

from model.estimator.callbacks import MetricsLog
from model.estimator.estimator import RankingEstimator

STEPS = 60
SETTINGS = {
    "steps": STEPS,
    "checkpoint_every": 7,
    "log_every": 5,
    "async_checkpoints": True,
    "keep_checkpoints": 2,
}


def model():
    return make_model("mmoe", dropout=0.2, normalize="batch")  # random states and moving averages


def train(folder: Path, pause: float) -> None:
    log = MetricsLog(folder / "model/metrics.jsonl")
    estimator = make_estimator(folder, model=model(), embedding_optimizer="lazy_adam", **SETTINGS)
    log.forget_after(RankingEstimator.train(estimator, estimator.train_input, steps=0).step)
    trained = estimator.train(log, lambda _: time.sleep(pause))
    print(trained.ended, trained.step)


def start(folder: Path, pause: float = 0.0) -> subprocess.Popen:
    path = os.pathsep.join(p for p in sys.path if p)
    env = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, str(folder), str(pause)]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def state(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / "model/checkpoints"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("state/")
    }


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert len(one) > 30
    assert [name for name, value in one.items() if value.tobytes() != other[name].tobytes()] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write_data(folder)
    train(folder, 0.0)
    return folder


def progress(folder: Path) -> int:
    path = folder / "model/metrics.jsonl"
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_bits(tmp_path, undisturbed):
    (tmp_path / "data").symlink_to(undisturbed / "data")
    rng, kills = random.Random(2), 0
    while kills < 10:  # each a random while after it was seen to go on
        process, steps = start(tmp_path, pause=0.15), progress(tmp_path)
        while process.poll() is None and progress(tmp_path) == steps:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    out, err = start(tmp_path).communicate()
    assert out.split()[-2:] == ["steps", str(STEPS)], err[-2000:]
    assert_same(state(undisturbed), state(tmp_path))
    assert [line["step"] for line in lines(tmp_path / "model/metrics.jsonl")] == [
        line["step"] for line in lines(undisturbed / "model/metrics.jsonl")
    ]


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_the_rest_follows(tmp_path, undisturbed):
    (tmp_path / "data").symlink_to(undisturbed / "data")
    process = start(tmp_path, pause=0.3)
    while process.poll() is None and not progress(tmp_path):
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    ended, step = out.split()[-2:]
    assert ended == "signal"
    assert 0 < int(step) < STEPS
    assert tf.train.latest_checkpoint(tmp_path / "model/checkpoints").endswith(f"-{step}")
    assert start(tmp_path).communicate()[0].split()[-2:] == ["steps", str(STEPS)]
    assert_same(state(undisturbed), state(tmp_path))


if __name__ == "__main__":
    train(Path(sys.argv[1]), float(sys.argv[2]))
