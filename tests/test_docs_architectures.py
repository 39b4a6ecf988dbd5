"""docs/architectures.md: every entry has a section, its cost and the drawing of
docs/draw_architectures.py; every block runs.
"""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from model_data import DWELL, TASKS, make_spec

from model.config import ModelConfig
from model.funnels import FUNNELS
from model.sharing import SHARING
from model.weighting import WEIGHTING

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "architectures.md").read_text()
DRAWINGS = runpy.run_path(str(DOCS / "draw_architectures.py"))["drawings"]()
BLOCKS = {kind: re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("toml", "python")}


@pytest.mark.parametrize("name", [*SHARING, *FUNNELS])
def test_an_entry_has_a_section_with_its_drawing(name):
    section = PAGE.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert section.strip().startswith(f"![](architectures/{name}.svg)")
    assert "**Cost**" in section or "No weights of its own" in section
    assert "**Options**" in section or name in FUNNELS


@pytest.mark.parametrize("name", WEIGHTING)
def test_a_weighting_has_a_row(name):
    assert f"| `{name}` |" in PAGE


def test_the_drawings_are_those_of_the_program():
    assert {path.name: path.read_text() for path in (DOCS / "architectures").iterdir()} == DRAWINGS
    assert set(DRAWINGS) == {f"{name}.svg" for name in [*SHARING, *FUNNELS]}


@pytest.mark.parametrize("block", BLOCKS["toml"])
def test_a_block_of_configuration_parses(block):
    sections = tomllib.loads(block)
    assert sections
    if "model" in sections:
        config = ModelConfig.parse(sections["model"], "model")
        config.check(make_spec(labels=DWELL["labels"], tasks=sections.get("tasks", TASKS)))


def test_the_example_of_layers_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = BLOCKS["python"]
    assert len(example.splitlines()) <= 12
    exec(example, {})
    assert (tmp_path / "ranking.keras").exists()
