"""Two processes that train one model, by TF_CONFIG: as one process does, from checkpoints too; and
only with one configuration.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_estimator, write_data

from features.errors import FunnelError
from model.estimator.estimator import RankingEstimator
from model.training import collectives, strategy
from model.training.workers import workers

HERE = Path(__file__).parent
WORKER = """
import sys
from pathlib import Path
from model_data import make_estimator
from model.estimator.estimator import RankingEstimator
from test_model_workers import halves
folder, steps, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
estimator = make_estimator(folder, learning_rate=rate)
trained = RankingEstimator.train(estimator, halves(estimator), max_steps=steps)
print("ended at", trained.step)
"""
CHIEF_DECIDES = """
import sys
from pathlib import Path
from model_data import make_estimator
from model.estimator.estimator import RankingEstimator
from model.training.progress import Reporter
from model.training.workers import worker
from model.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate
from test_model_workers import halves

class Stop:
    cuts = (12,)
    def __call__(self, progress):
        print("reported", progress.step)
        return progress.step >= 35

Reporter.steps_within = lambda self, seconds: 3 + 2 * worker()  # unlike paces
run = make_estimator(Path(sys.argv[1]), log_every=10, async_checkpoints=True)
estimator = RankingEstimator(run.config, run.model_dir, run.run_config)
trained = estimator.train(halves(run), max_steps=60, callbacks=[] if worker() else [Stop()])
print("ended at", trained.step, trained.ended)
again = RankingEstimator(run.config, run.model_dir, run.run_config)
enough = [] if worker() else [lambda progress: progress.step >= 60]
export = lambda estimator, metrics, step, final: print("exported", step, final)
evaluated = EvalSpec(run.eval_input, 10, [export], enough)
trained, metrics = train_and_evaluate(again, TrainSpec(halves(run), 100), evaluated)
print("evaluated", sorted(metrics), "ended at", trained.step, trained.ended)
"""


def halves(estimator):
    """Every batch of 16 rows, of which each of the workers takes its part."""

    def input_fn(context):
        whole = estimator.train_input(tf.distribute.InputContext())
        size = 16 // context.num_input_pipelines
        start = size * context.input_pipeline_id
        return whole.map(
            lambda batch: {name: tensor[start : start + size] for name, tensor in batch.items()}
        )

    return input_fn


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def start(folder, steps=0, rates=(0.01, 0.01), program=WORKER):
    """Runs both workers to their end; their (code, output)."""
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in rates]}
    running = []
    for index, rate in enumerate(rates):
        env = os.environ | {
            "TF_CONFIG": json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": index}}
            )
        }
        env |= {"PYTHONPATH": f"{HERE}:{HERE.parent}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", program, str(folder), str(steps), str(rate)]
        running.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        return [(process.wait(200), process.stdout.read()) for process in running]
    finally:
        for process in running:
            process.kill()


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_stop_on_the_chief_stops_all_at_the_same_step(tmp_path):
    write_data(tmp_path)
    (code, chief), (other_code, other) = start(tmp_path, program=CHIEF_DECIDES)
    assert (code, other_code) == (0, 0), chief[-2000:] + other[-2000:]
    for output in (chief, other):
        assert "ended at 40 callback" in output
        assert "ended at 60 callback" in output
    said = [
        line.removeprefix("reported ")
        for line in chief.splitlines()
        if line.startswith("reported ")
    ]
    assert said == ["10", "12", "20", "30", "40"]
    exported = [
        "exported 40 False",
        "exported 50 False",
        "exported 60 True",
    ]  # the one at 40 was due, and runs first
    assert [line for line in chief.splitlines() if line.startswith("exported")] == exported
    assert "exported" not in other


def test_parts_that_workers_disagree_about_are_named(monkeypatch):
    parts = {"model": 1, "run": {"log_every": 5}}
    theirs = [collectives._digest(part) for part in (1, {"log_every": 7})]
    monkeypatch.setattr(collectives, "gathered", lambda _, *mine: [theirs, list(mine)])
    monkeypatch.setattr(collectives, "workers", lambda: 2)
    monkeypatch.setattr(collectives, "worker", lambda: 1)
    with pytest.raises(
        FunnelError,
        match=(
            r"worker 1 and worker 0 disagree about the configuration \(run\): start all with the "
            r"same file"
        ),
    ):
        collectives.check_agreement(None, parts)


def test_workers_that_resume_from_unlike_steps_are_refused(monkeypatch):
    monkeypatch.setattr(collectives, "gathered", lambda _, step: [[step], [0]])
    with pytest.raises(
        FunnelError,
        match=(
            r"worker 1 resumes from step 0, worker 0 from step 4: .* a file system that all "
            r"workers share"
        ),
    ):
        collectives.check_restored(None, 4)


def test_ctrl_c_ends_one_that_waits_for_the_others(monkeypatch):
    def sigint():
        return signal.getsignal(signal.SIGINT)

    before = sigint()
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", sigint)
    assert strategy._multi_worker.__wrapped__() is signal.SIG_DFL
    assert sigint() is before


def test_workers_that_disagree_are_refused(tmp_path):
    write_data(tmp_path)
    ends = start(tmp_path, 2, rates=(0.01, 0.02))
    assert all("disagree about the configuration (train)" in output for _, output in ends), ends[0][
        1
    ][-2000:]
    assert all(code for code, _ in ends)
    assert not list((tmp_path / "model").glob("checkpoints/*.index"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "TF_CONFIG is not JSON"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}', "TF_CONFIG names ps besides workers"),
    ],
)
def test_what_tf_config_cannot_be(monkeypatch, text, said):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(FunnelError, match=said):
        workers()
