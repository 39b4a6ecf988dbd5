"""docs/features.md: what `funnel inspect` prints there is what it prints."""

import os
import re
from pathlib import Path

import pytest

from funnel import console
from funnel.cli.main import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"```console\n\$ funnel (inspect [^\n]*)\n(.*?)```",
    (ROOT / "docs/features.md").read_text(),
    re.DOTALL,
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with runs/demo, made by the commands that the page names."""
    folder, before = tmp_path_factory.mktemp("demo"), Path.cwd()
    os.chdir(folder)
    try:
        for command in ("simulate", "preprocess"):
            config = str(ROOT / "funnel/examples/demo.toml")
            assert main([command, config, "--set", "simulate.impressions=2000"]) == 0
        yield folder
    finally:
        os.chdir(before)


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_output(demo, capsys, monkeypatch, command, shown):
    monkeypatch.setattr(console.console, "_width", 80)
    assert main(command.split()) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    at = 0
    for line in shown.splitlines():
        if line != "…":  # stands for lines that are left out
            assert line in printed[at:]
            at = printed.index(line, at) + 1


def test_the_page_has_every_kind_of_output():
    assert len(BLOCKS) == 4
