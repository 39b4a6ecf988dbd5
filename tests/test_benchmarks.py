"""Every benchmark program runs at its smallest, says what it measures and ends with the documented
JSON object.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PEER = "import json\nprint('noise')\nprint(json.dumps({'rows_per_second': 1000.0}))\n"


def run(program, *flags):
    """The program as a user starts it: by path, from another directory, without PYTHONPATH."""
    command = [sys.executable, str(ROOT / "benchmarks" / program), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=600)


def last_line(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("program", ["pipeline.py", "train.py", "serve.py", "simulate.py"])
def test_help_gives_an_example(program):
    done = run(program, "--help")
    assert done.returncode == 0
    assert f"example: python benchmarks/{program}" in done.stdout


def stand_in(folder):
    """In place of a peer's Python: it answers as the worker scripts do, without the peer's
    environment.
    """
    python = folder / "python"
    python.write_text(f"#!{sys.executable}\n{PEER}")
    python.chmod(0o755)
    return str(python)


@pytest.mark.slow
def test_pipeline_prints_every_ratio(tmp_path):
    result = last_line(run("pipeline.py", "--quick", "--tft", stand_in(tmp_path)))
    ratios = {
        "wall_over_limit",
        "wall_over_script",
        "times_tft",
        "times_tft_parquet",
        "time_growth_1m_8m",
        "peak_over_input",
    }
    assert set(result) == ratios | {"rows_per_second"}
    assert result["times_tft"] == result["times_tft_parquet"] > 0
    assert result["peak_over_input"] > 0


@pytest.mark.slow
def test_pipeline_measures_one_thing_when_asked_and_says_what_it_leaves_out():
    done = run("pipeline.py", "--quick", "--only", "tft", "--tft", "/nowhere/python")
    assert last_line(done) == {}
    assert (
        "/nowhere/python is not there, so TensorFlow Transform is left out; `make bench-peers` "
        "makes it" in done.stdout
    )


FIGURES = {
    *(
        "of_limit",
        "vocabulary_400k",
        "vocabulary_2m",
        "times_deepctr_10k",
        "times_deepctr_400k",
        "times_rechub_10k",
        "times_rechub_400k",
    ),
    *(
        "best_times_deepctr_10k",
        "best_over_float32",
        "best_of_limit",
        "best_auc_difference",
        "wide_over_plain",
        "disk_over_memory",
        "packed_over_columns",
    ),
    "extra_gib",
}


@pytest.mark.slow
def test_train_prints_every_figure(tmp_path):
    python = stand_in(tmp_path)
    result = last_line(run("train.py", "--quick", "--deepctr", python, "--rechub", python))
    assert set(result) == FIGURES
    assert all(value >= 0 for value in result.values())
    assert result["times_deepctr_10k"] == result["times_rechub_10k"] > 0
    assert result["times_deepctr_400k"] == result["times_rechub_400k"] > 0


@pytest.mark.slow
def test_train_measures_what_is_asked():
    asked = "packed_over_columns"
    assert set(last_line(run("train.py", "--quick", "--only", asked))) == {asked}


@pytest.mark.slow
def test_architectures_are_trained_when_asked():
    costs = last_line(run("architectures.py", "--speed", "--only", "shared_bottom", "esmm"))
    assert {axis: list(own) for axis, own in costs.items()} == {
        "sharing": ["shared_bottom"],
        "funnel": ["esmm"],
    }
    assert costs["sharing"]["shared_bottom"]["rows_per_second"] > 0
    assert 0 < costs["funnel"]["esmm"]["of_limit"] < 1


@pytest.mark.slow
def test_serving_prints_both_sizes_of_a_request():
    result = last_line(run("serve.py", "--quick"))
    assert set(result) == {"wide_over_plain_100", "wide_over_plain_1000"}
    assert all(value > 0 for value in result.values())


def test_train_says_which_peer_is_missing():
    done = run(
        "train.py",
        "--quick",
        "--deepctr",
        "/nowhere/python",
        "--rechub",
        "/nowhere/python",
        "--only",
        "times_rechub_10k",
    )
    assert last_line(done) == {}
    assert (
        "/nowhere/python is not there, so rechub is left out; `make bench-peers` makes it"
        in done.stdout
    )


@pytest.mark.slow
def test_bad_lines_prints_the_largest_ratios():
    result = last_line(run("bad_lines.py", "--lines", "200", "--tries", "1"))
    assert set(result) == {"all_bad", "one_in_100_bad"}
    assert min(result.values()) > 0
