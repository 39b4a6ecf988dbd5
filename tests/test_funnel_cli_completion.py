"""Completion: what can follow in a command line, and that bash asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from funnel.cli.arguments import SHELLS
from funnel.cli.completion import code
from funnel.cli.set_keys import assignments, keys

ROOT = Path(__file__).parents[1]
CONFIG = """
[logs.impressions]
files = "x.csv"
[features]
price = { kind = "numeric" }
user = { kind = "categorical", buckets = 10 }
[tasks]
ctr = { label = "click" }
"""
# Completes the last word of a line as bash does on Tab; prints what it would offer.
ON_TAB = """
source <(funnel completion bash)
COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
[[ "$1" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p funnel | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function funnel "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with my.toml, a folder, and `funnel` on the PATH."""
    (tmp_path / "my.toml").write_text(CONFIG)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "funnel"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m funnel "$@"\n')
    command.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *(p for p in sys.path if p)]))
    return tmp_path


def on_tab(line):
    command = ["bash", "--norc", "-c", ON_TAB, "bash", line]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [word.strip() for word in done.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("funnel pre", ["predict", "preprocess"]),
        ("funnel train --for", ["--force"]),
        ("funnel train my", ["my.toml"]),
        ("funnel train my.toml --set output.sh", ["output.shard_input=", "output.shards="]),
        ("funnel train my.toml --set features.price.tr", ["features.price.transform="]),
        ("funnel run my.toml --set model.sharing=m", ["ml_mmoe", "mmoe", "moe", "mose"]),
        ("funnel experiment m", ["mmoe-synthetic"]),
        ("funnel completion ", ["bash", "fish", "zsh"]),
    ],
)
def test_bash_completes(folder, line, offered):
    found = on_tab(line)
    assert sorted(found) == offered


def test_options_come_with_the_next_word(folder):
    found = on_tab("funnel experiment --")
    assert {"--seeds", "--only", "--json", "--quiet"} <= set(found)


def test_keys_of_a_configuration(folder):
    found = keys(Path("my.toml"))
    assert {"logs.impressions.files", "features.user.buckets", "tasks.ctr.label"} <= set(found)
    assert {"run", "split.eval.last", "exporters.final"} <= set(found)
    assert "features.price.buckets" not in found  # which a number has not
    assert not any("None" in key for key in found)


def test_values_of_a_key_that_has_few(folder):
    assert assignments("features.price.transform=", Path("my.toml")) == [
        "features.price.transform=none",
        "features.price.transform=log1p",
    ]
    assert assignments("warm_start.refresh_statistics=", None) == [
        "warm_start.refresh_statistics=true",
        "warm_start.refresh_statistics=false",
    ]
    assert assignments("run=", None) == assignments("no.such=", None) == []


@pytest.mark.parametrize("content", ["[logs", "logs = 3", None])
def test_a_file_that_cannot_be_read_names_nothing(tmp_path, content):
    path = tmp_path / "my.toml"
    if content:
        path.write_text(content)
    assert "split.eval.last=" in assignments("split", path)
    assert assignments("logs.", path) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_code_of_each_shell_is_of_this_command(shell):
    assert "funnel" in code(shell)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=code(shell), text=True, check=True)
