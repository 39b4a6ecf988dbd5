"""Exit codes, and what a signal leaves behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from pipeline_logs import write_logs
from test_funnel_cli import END, GOOD, TOML, run

from features.errors import FunnelError
from funnel.cli import main as cli
from funnel.cli.exit_codes import MEANINGS, ExitCode
from funnel.examples import EXAMPLES


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current directory: logs and my.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


def raising(error):
    def call(options, beam_args):
        raise error

    return call


def ended_by(number):
    return lambda options, beam_args: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        (lambda options, beam_args: None, ExitCode.OK, ""),
        (raising(RuntimeError("odd")), ExitCode.FAULT, "error: RuntimeError: odd (--debug shows"),
        (raising(FunnelError("x = 1: must be 2")), ExitCode.USER_ERROR, "error: x = 1: must be 2"),
        (raising(KeyboardInterrupt()), ExitCode.INTERRUPTED, "error: interrupted; the same comm"),
        (ended_by(signal.SIGINT), ExitCode.INTERRUPTED, "error: interrupted; the same command"),
        (ended_by(signal.SIGTERM), ExitCode.TERMINATED, "error: ended by SIGTERM; the same comm"),
        (ended_by(signal.SIGHUP), ExitCode.HUNG_UP, "error: ended by SIGHUP; the same command re"),
    ],
)
def test_exit_codes(monkeypatch, capsys, handler, code, message):
    before = handlers()
    monkeypatch.setitem(cli.HANDLERS, "report", handler)
    got, _, err = run(capsys, "report", "my.toml")
    assert got == code
    assert err.startswith(message)
    assert err.count("\n") == bool(message)
    assert handlers() == before


def handlers():
    return [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]


def test_the_codes_are_those_of_shells():
    assert (ExitCode.HUNG_UP, ExitCode.INTERRUPTED, ExitCode.TERMINATED) == (
        128 + signal.SIGHUP,
        128 + signal.SIGINT,
        128 + signal.SIGTERM,
    )
    assert set(MEANINGS) == set(ExitCode)


def test_a_signal_that_is_ignored_has_no_effect(monkeypatch, capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        monkeypatch.setitem(cli.HANDLERS, "report", ended_by(signal.SIGHUP))
        assert run(capsys, "report", "my.toml")[::2] == (ExitCode.OK, "")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_training_exits_with_zero_where_that_is_asked_for(monkeypatch, capsys, number):
    before = handlers()
    monkeypatch.setitem(cli.HANDLERS, "train", ended_by(number))
    code, out, err = run(capsys, "train", "my.toml", "--exit-zero-on-signal")
    by = "SIGHUP" if number == signal.SIGHUP else "SIGTERM"
    assert (code, err) == (ExitCode.OK, "")
    assert out.splitlines()[-1] == (
        f"· ended by {by}; the same command resumes from the last checkpoint or finished stage"
    )
    assert handlers() == before


def test_only_a_training_has_the_option(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "my.toml", "--exit-zero-on-signal"])
    assert ended.value.code == ExitCode.USER_ERROR
    assert "unrecognized arguments: --exit-zero-on-signal" in capsys.readouterr().err


def test_sigterm_during_a_simulation_removes_what_it_wrote(folder):
    sizes = ["--set", "simulate.impressions=500_000_000", "--set", "simulate.days=2"]
    command = [sys.executable, "-m", "funnel", "simulate", "my.toml", *sizes]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(
        folder.glob("run/.logs.*.unfinished/impressions/*/*")
    ):
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err == (
        "error: ended by SIGTERM; the same command resumes from the last checkpoint or finished "
        "stage\n"
    )
    assert [path.name for path in (folder / "run").iterdir()] == [".stages.json"]


BUSY = """
import sys, time
from pathlib import Path
from pipeline import steps

def busy(*arguments):
    Path("busy").touch()
    time.sleep(120)

steps.encode_batch = busy
from funnel.cli.main import program
program()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_beam_job_at_once_and_leaves_nothing(folder, number, code):
    command = [sys.executable, "-c", BUSY, "preprocess", "my.toml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (folder / "busy").exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert [path.name for path in (folder / "run").iterdir()] == [".stages.json"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_in_its_training(folder, number):
    """Nothing that follows the training is done, and the run's directory says so."""
    (folder / "demo.toml").write_text((EXAMPLES / "demo.toml").read_text())
    sizes = ["simulate.impressions=20_000", "train.steps=1_000_000", "train.log_every=5"]
    changes = [part for change in sizes for part in ("--set", change)]
    command = [sys.executable, "-m", "funnel", "run", "demo.toml", *changes]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run, log = folder / "runs/demo", folder / "runs/demo/model/metrics.jsonl"
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    (line,) = err.splitlines()
    stages = json.loads((run / ".stages.json").read_text())
    assert {name: stage["done"] for name, stage in stages.items()} == {
        "simulate": True,
        "preprocess": True,
        "train": False,
    }
    assert [path.name for path in run.iterdir() if "lock" in path.name] == []
    if number == signal.SIGINT:
        assert line.startswith("error: interrupted; the same command resumes from the last check")
    else:
        step = line.split("error: training was ended at step ")[1].split()[0]
        assert line.endswith(f" by a signal; to resume: {shlex.join(['funnel', *command[3:]])}")
        assert (run / f"model/checkpoints/ckpt-{step}.index").exists()
