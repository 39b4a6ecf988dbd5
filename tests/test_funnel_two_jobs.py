"""Two jobs in one run directory: the second waits, saying for whom, or is refused."""

import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pipeline_logs import write_logs
from test_funnel_cli import END, GOOD, TOML, fails

import funnel
from features.locks import locked
from funnel.stages import record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: logs and my.toml."""
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


OWNER = f"process {os.getpid()} on {socket.gethostname()}, since "


@pytest.mark.parametrize(
    ("command", "lock"),
    [
        ("run", "run/.lock-run"),
        ("simulate", "run/.lock-simulate-logs"),
        ("preprocess", "run/.lock-preprocess"),
        ("train", "run/.lock-train"),
        ("evaluate", "run/.lock-evaluate"),
        ("export", "run/.lock-export"),
        ("report", "run/.lock-report"),
        ("predict", "run/.lock-predict-predictions.parquet"),
    ],
)
def test_a_second_job_is_refused_and_changes_nothing(folder, capsys, monkeypatch, command, lock):
    monkeypatch.setattr("funnel.stages.run.load_tensorflow", lambda: None)
    with locked(folder / lock, command):
        err = fails(
            capsys,
            f"error: run: another {command} is running there: {OWNER}",
            *(command, "my.toml", "--no-wait"),
        )
        assert err.endswith("or without --no-wait (wait = False), which waits\n")
        assert [path.name for path in (folder / "run").iterdir()] == [lock.split("/")[1]]


def test_the_second_waits_for_the_first_and_starts_from_what_it_left(folder, caplog):
    caplog.set_level(logging.WARNING, "funnel")
    with ThreadPoolExecutor(1) as pool:
        with locked(folder / "run/.lock-preprocess", "preprocess"):
            second = pool.submit(funnel.preprocess, "my.toml")
            end = time.monotonic() + 60
            while not caplog.messages and time.monotonic() < end:
                time.sleep(0.02)
            assert not (folder / "run/.stages.json").exists()
            (line,) = caplog.messages
        assert second.result().rows == {"train": 11, "eval": 9}
    assert line.startswith(f"run: this preprocess waits for another preprocess: {OWNER}")
    assert record.read(folder / "run")["preprocess"]["done"]
    assert [path.name for path in (folder / "run").glob(".lock*")] == []


def test_functions_are_refused_too(folder):
    message = r"run: another train is running there: "
    with (
        locked(folder / "run/.lock-train", "train"),
        pytest.raises(funnel.FunnelError, match=message),
    ):
        funnel.train("my.toml", wait=False)


def test_other_workers_of_a_training_hold_no_lock(folder, monkeypatch):
    from funnel.stages import run as stages

    monkeypatch.setenv(
        "TF_CONFIG",
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}',
    )
    config = funnel.load_config("my.toml")
    with locked(folder / "run/.lock-train", "train"), stages._alone(config, "train", wait=False):
        assert [path.name for path in (folder / "run").iterdir()] == [".lock-train"]


def test_records_of_two_stages_at_once_are_all_kept(tmp_path):
    names = [f"stage {number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: record.note(tmp_path, name, ["a", "b"], done=True), names))
    assert sorted(record.read(tmp_path)) == sorted(names)


@pytest.mark.slow
def test_two_preprocess_at_once_leave_the_work_of_one(folder):
    """Two processes with other splits, both started while this one holds the lock."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running = []
    with locked(folder / "run/.lock-preprocess", "preprocess"):
        for fraction in (0.1, 0.6):
            command = [sys.executable, "-m", "funnel", "preprocess", "my.toml"]
            command += ["--set", f"split.eval={{fraction={fraction}}}"]
            running.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, bufsize=1)
            )
        for process in running:
            lines = iter(process.stdout.readline, "")
            assert any(f"this preprocess waits for another preprocess: {OWNER}" in x for x in lines)
    rests = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert all("20 examples of 20 impressions" in rest for rest in rests)
    data = folder / "run/data"
    shards = json.loads((data / "manifest.json").read_text())["shards"]
    for shard in [*shards["train"], *shards["eval"]]:
        content = (data / shard["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
    assert sorted(path.name for path in (folder / "run").iterdir()) == [
        ".stages.json",
        "data",
        "summary.json",
    ]
