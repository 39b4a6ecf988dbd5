"""Exit codes, and what a signal leaves behind."""

import os
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


def terminated(options, beam_args):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        (lambda options, beam_args: None, ExitCode.OK, ""),
        (raising(RuntimeError("odd")), ExitCode.FAULT, "error: RuntimeError: odd (--debug shows"),
        (raising(FunnelError("x = 1: must be 2")), ExitCode.USER_ERROR, "error: x = 1: must be 2"),
        (raising(KeyboardInterrupt()), ExitCode.INTERRUPTED, "error: interrupted; the same comm"),
        (terminated, ExitCode.TERMINATED, "error: ended by SIGTERM; the same command resumes"),
    ],
)
def test_exit_codes(monkeypatch, capsys, handler, code, message):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(cli.HANDLERS, "report", handler)
    got, _, err = run(capsys, "report", "my.toml")
    assert got == code
    assert err.startswith(message)
    assert err.count("\n") == bool(message)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_codes_are_those_of_shells():
    assert (ExitCode.INTERRUPTED, ExitCode.TERMINATED) == (
        128 + signal.SIGINT,
        128 + signal.SIGTERM,
    )
    assert set(MEANINGS) == set(ExitCode)


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
