"""The help: every command is in it once, and every example works; docs/command-line.md says the
same.
"""

import re
import shlex
from pathlib import Path

import pytest
from test_funnel_cli import run

from funnel.cli.arguments import COMMANDS, GROUPS, parser, split
from funnel.cli.exit_codes import MEANINGS
from funnel.cli.main import main
from funnel.examples import EXAMPLES
from funnel.version import __version__

PAGE = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text()
SMALLER = {"simulate.impressions=100_000": "simulate.impressions=3000"}  # of the examples


def test_every_command_is_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)


def test_help_lists_commands_in_the_order_of_use(capsys):
    out = run(capsys, "--help")[1]
    at = [out.index(f"\n  {name} ") for names in GROUPS.values() for name in names]
    assert at == sorted(at)
    assert max(map(len, out.splitlines())) <= 80


def test_the_version(capsys):
    assert run(capsys, "--version") == (0, f"funnel {__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_parses_to_its_command(name):
    words = shlex.split(COMMANDS[name][1].partition(" >> ")[0])
    assert words[0] == "funnel"
    assert parser().parse(split(words[1:])[0]).command == name


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["preproces", "my.toml"],
            "error: invalid choice: 'preproces': did you mean 'preprocess'? (see `funnel --help`)",
        ),
        (
            ["train", "my.toml", "--frce"],
            "error: unrecognized arguments: --frce: did you mean '--force'? "
            "(see `funnel train --help`)",
        ),
        (
            ["train", "my.toml", "more"],
            "error: unrecognized arguments: more (see `funnel train --help`)",
        ),
        (
            ["train"],
            "error: the following arguments are required: config (see `funnel train --help`)",
        ),
        (
            ["experiment", "census", "--seeds", "0"],
            "error: argument --seeds: 0 is not a whole number of at least 1 "
            "(see `funnel experiment --help`)",
        ),
    ],
)
def test_wrong_arguments_are_one_line(capsys, arguments, line):
    assert run(capsys, *arguments) == (2, "", line + "\n")


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch, capsys):
    """Each stage's example on small logs, then those that read the results, then the whole run."""
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "demo.toml").read_text().replace("runs/demo", "runs/my")
    small = text.replace("impressions = 300_000", "impressions = 3000")
    (tmp_path / "my.toml").write_text(small)
    stages = GROUPS["one stage, in this order"]
    for name in (*stages, "inspect", "predict", "completion", "run"):
        own, beam = split(shlex.split(COMMANDS[name][1].partition(" >> ")[0])[1:])
        own = [SMALLER.get(word, word) for word in own]
        assert main([*own, *(["--", *beam] if beam else [])]) == 0, capsys.readouterr().err
    assert (tmp_path / "scores.parquet").exists()
    assert (tmp_path / "runs/my/report.html").exists()


def test_the_page_lists_every_command_and_exit_code():
    rows = dict(re.findall(r"^\| `funnel ([a-z]+)[^|]*\| ([^|]+?) \|", PAGE, re.MULTILINE))
    assert set(rows) == set(COMMANDS)
    codes = dict(re.findall(r"^\| (\d+) \| ([^|]+?) \|$", PAGE, re.MULTILINE))
    assert codes == {str(int(code)): meaning for code, meaning in MEANINGS.items()}


@pytest.mark.parametrize("line", re.findall(r"^    (funnel .*)$", PAGE, re.MULTILINE))
def test_the_commands_of_the_page_parse(line):
    words = shlex.split(re.split(r"\s(?:#|[|>])", line)[0])
    parser().parse(split(words[1:])[0])
