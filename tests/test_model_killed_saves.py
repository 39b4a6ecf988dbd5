"""Trainings that are killed while they write a checkpoint, with evaluations and exports. This file
runs itself as the training.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from model_data import FEATURES, lines, make_estimator, make_model, make_spec, write_data
from test_model_interruptions import assert_same, state

from model.estimator.callbacks import MetricsLog
from model.estimator.estimator import RankingEstimator
from model.estimator.exporters import BestExporter, LatestExporter
from model.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate

SPEC = make_spec(
    features=FEATURES | {"user": FEATURES["user"] | {"buckets": 400_000}}
)  # so that writing takes a while
SETTINGS = {
    "checkpoint_every": 4,
    "log_every": 5,
    "async_checkpoints": True,
    "embedding_optimizer": "lazy_adam",
}


def train(folder: Path) -> None:
    run = make_estimator(
        folder, SPEC, make_model("mmoe", dropout=0.2, normalize="batch"), **SETTINGS
    )
    estimator, log = (
        RankingEstimator(run.config, run.model_dir, run.run_config),
        MetricsLog(run.model_dir / "metrics.jsonl"),
    )
    log.forget_after(estimator.train(run.train_input, steps=0).step)
    exporters = [
        LatestExporter(folder / "latest"),
        BestExporter(folder / "best", metric="ctr logloss"),
    ]
    eval_spec = EvalSpec(run.eval_input, 6, exporters)
    print(
        "ended at",
        train_and_evaluate(estimator, TrainSpec(run.train_input, 12, [log]), eval_spec)[0].step,
    )


def start(folder: Path) -> subprocess.Popen:
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(seen: Callable[[Path, int], bool], folder: Path, step: int) -> None:
    """Stops the training when it is seen, and kills it if it is so still."""
    process = start(folder)
    while process.poll() is None:
        if seen(folder, step):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.05)  # it stops a little later
            if seen(folder, step):
                process.kill()
            process.send_signal(signal.SIGCONT)
        time.sleep(0.0005)
    assert process.returncode == -signal.SIGKILL, process.stdout.read()[-2000:]
    process.communicate()


def half_written(folder: Path, step: int) -> bool:
    checkpoints = folder / "model/checkpoints"
    names = os.listdir(checkpoints) if checkpoints.exists() else []
    return f"ckpt-{step}_temp" in names and f"ckpt-{step}.index" not in names


def not_evaluated(folder: Path, step: int) -> bool:
    """Whether the checkpoint is written, and its evaluation is not in the log."""
    written = (folder / f"model/checkpoints/ckpt-{step}.index").exists()
    return written and step not in [line["step"] for line in evaluations(folder)]


def evaluations(folder: Path) -> list[dict]:
    return [line for line in lines(folder / "model/metrics.jsonl") if "evaluation" in line]


def exports(folder: Path) -> dict[str, int]:
    return {name: len(list((folder / name).glob("[0-9]*"))) for name in ("latest", "best")}


@pytest.mark.slow
def test_killed_while_and_after_it_saves_it_ends_with_the_same_bits_evaluations_and_exports(
    tmp_path,
):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        write_data(folder, SPEC)
    assert "ended at 12" in start(undisturbed).communicate()[0]
    kill_when(half_written, killed, 4)  # the first checkpoint
    kill_when(not_evaluated, killed, 6)
    kill_when(half_written, killed, 12)  # the last
    said, _ = start(killed).communicate()
    assert "ended at 12" in said, said[-2000:]
    assert_same(state(undisturbed), state(killed))
    assert [line["step"] for line in evaluations(undisturbed)] == [6, 12]
    assert evaluations(killed) == evaluations(undisturbed)
    assert exports(killed) == exports(undisturbed)
    assert exports(killed)["latest"] == 2
    names = {path.name.split(".")[0] for path in (killed / "model/checkpoints").iterdir()}
    assert names == {"checkpoint", "ckpt-6", "ckpt-8", "ckpt-12"}  # nothing half-written is left


if __name__ == "__main__":
    train(Path(sys.argv[1]))
