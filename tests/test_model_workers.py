"""Two processes that train one model, by TF_CONFIG: as one process does, from checkpoints too; and only with one configuration."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_estimator, write_data

from features.errors import FunnelError
from model import strategy
from model.estimator import RankingEstimator

HERE = Path(__file__).parent
WORKER = """
import sys
from pathlib import Path
from model_data import make_estimator
from model.estimator import RankingEstimator
from test_model_workers import halves
folder, steps, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
estimator = make_estimator(folder, learning_rate=rate)
trained = RankingEstimator.train(estimator, halves(estimator), max_steps=steps)
print("ended at", trained.step)
"""


def halves(estimator):
    """Every batch of 16 rows, of which each of the workers takes its part."""

    def input_fn(context):
        whole = estimator.train_input(tf.distribute.InputContext())
        size = 16 // context.num_input_pipelines
        start = size * context.input_pipeline_id
        return whole.map(lambda batch: {name: tensor[start : start + size] for name, tensor in batch.items()})

    return input_fn


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def start(folder, steps, rates=(0.01, 0.01)):
    """Runs both workers to their end; their (code, output)."""
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in rates]}
    running = []
    for index, rate in enumerate(rates):
        env = os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
        env |= {"PYTHONPATH": f"{HERE}:{HERE.parent}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", WORKER, str(folder), str(steps), str(rate)]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        return [(process.wait(200), process.stdout.read()) for process in running]
    finally:
        for process in running:
            process.kill()


def test_two_processes_do_as_one_and_resume(tmp_path):
    for name in ("one", "two"):
        write_data(tmp_path / name)
    for steps in (4, 8):
        for code, output in start(tmp_path / "two", steps):
            assert code == 0, output[-2000:]
            assert f"ended at {steps}" in output
    one = make_estimator(tmp_path / "one", learning_rate=0.01)
    RankingEstimator.train(one, halves(one), max_steps=8)
    two = make_estimator(tmp_path / "two", learning_rate=0.01).load().state
    for name, value in one.load().state.items():
        np.testing.assert_allclose(two[name].numpy(), value.numpy(), atol=1e-5, err_msg=name)


def test_workers_that_disagree_are_refused(tmp_path):
    write_data(tmp_path)
    ends = start(tmp_path, 2, rates=(0.01, 0.02))
    assert all("disagree about the configuration" in output for _, output in ends), ends[0][1][-2000:]
    assert all(code for code, _ in ends)
    assert not list((tmp_path / "model").glob("checkpoints/*.index"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "TF_CONFIG is no JSON"), ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}', "TF_CONFIG names ps beside workers")],
)
def test_what_tf_config_cannot_be(monkeypatch, text, said):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(FunnelError, match=said):
        strategy.workers()
