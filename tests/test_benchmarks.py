"""Every benchmark program runs at its smallest, says what it measures and ends with the documented JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAIN_KEYS = {"rows_per_second_10k", "rows_per_second_400k", "vocabulary_400k", "of_limit"}
PEER = "import json\nprint('noise')\nprint(json.dumps({'rows_per_second': 1000.0}))\n"


def run(program, *flags):
    """The program as a user starts it: by its path, from another directory and without PYTHONPATH."""
    command = [sys.executable, str(ROOT / "benchmarks" / program), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300)


def last_line(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("program", ["pipeline.py", "train.py", "peers.py", "simulate.py"])
def test_help_gives_an_example(program):
    done = run(program, "--help")
    assert done.returncode == 0
    assert f"example: python benchmarks/{program}" in done.stdout


def test_peers_names_the_environment_that_is_missing():
    done = run("peers.py", "--deepctr", sys.executable)
    assert done.returncode == 2
    assert "--rechub is missing" in done.stderr


@pytest.mark.slow
def test_pipeline_writes_what_the_straight_line_way_writes():
    result = last_line(run("pipeline.py", "--quick"))
    assert set(result) == {"wall_over_limit", "rows_per_second", "limit_rows_per_second"}
    assert result["rows_per_second"] * result["wall_over_limit"] == pytest.approx(result["limit_rows_per_second"], rel=0.01)


@pytest.mark.slow
def test_train_measures_speed_vocabulary_and_limit():
    result = last_line(run("train.py", "--quick"))
    assert set(result) == TRAIN_KEYS
    assert all(value > 0 for value in result.values())


@pytest.mark.slow
def test_train_measures_one_thing_when_asked():
    result = last_line(run("train.py", "--quick", "--only", "of_limit"))
    assert set(result) == {"rows_per_second_10k", "of_limit"}


@pytest.mark.slow
def test_peers_compares_ours_with_each(tmp_path):
    # A stand-in for a peer's Python: it answers as the worker scripts do, without the peer's environment.
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n{PEER}")
    python.chmod(0o755)
    flags = ["--deepctr", str(python), "--rechub", str(python), "--rows-per-table", "1000", "2000"]
    result = last_line(run("peers.py", "--quick", *flags))
    assert set(result) == {"times_deepctr_1k", "times_deepctr_2k", "times_rechub_1k", "times_rechub_2k"}
    assert result["times_deepctr_1k"] == result["times_rechub_1k"] > 0
