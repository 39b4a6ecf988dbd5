"""docs/python.md: its blocks run in their order, and each prints what the page says it does."""

import logging
import re
from pathlib import Path

import pytest

import funnel

PAGE = (Path(__file__).parents[1] / "docs/python.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
BLOCKS = {
    title: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for title, text in SECTIONS.items()
}


def run(titles, names):
    for title in titles:
        for block in BLOCKS[title]:
            exec(compile(block, title, "exec"), names)
    return names


def test_every_block_is_in_a_section_that_a_test_runs():
    assert PAGE.count("```python\n") == sum(map(len, BLOCKS.values()))
    assert {title for title, blocks in BLOCKS.items() if blocks} == {
        "The demo",
        "Each step",
        "Layers in a Keras model",
        "Warnings",
    }


def test_the_demo_has_30_lines():
    (script,) = BLOCKS["The demo"]
    assert len([line for line in script.splitlines() if line]) <= 30


def test_the_table_names_what_there_is():
    first = PAGE.partition("## ")[0]
    named = {
        name
        for line in first.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named <= set(funnel.__all__)


@pytest.mark.slow
def test_the_demo_and_each_step(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    names = run(["The demo"], {})
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert re.fullmatch(r"20,\d{3} impressions in runs/demo/logs", lines[0])
    assert re.fullmatch(
        r"Dataset\('runs/demo/data': .* train, .* eval rows, 12 features\)", lines[1]
    )
    assert [line.split(":")[0] for line in lines[3:6]] == ["ctr", "cvr", "ctcvr"]
    assert lines[6].endswith(" predicts p_ctcvr, p_ctr, p_cvr")
    assert lines[-1] == "runs/demo/report.html"
    assert len(lines) == 9  # nothing but what the script prints
    assert err == ""
    with caplog.at_level(logging.INFO, logger="funnel"):
        names = run(["Each step"], names)
    unchanged = [m.split()[0] for m in caplog.messages if m.endswith("unchanged")]
    assert unchanged == ["simulate", "preprocess", "train", "evaluate", "export", "report"]
    assert sorted(path.name for path in Path("runs").iterdir()) == ["demo", "ple"]
    one, whole = names["scores"], names["metrics"]
    assert one.num_rows == 2
    assert 0.6 < whole["ctr"]["auc"] < 1


def test_layers_in_a_keras_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["Layers in a Keras model"], {})
    assert {path.name for path in tmp_path.iterdir()} == {"ranking.keras", "esmm.keras"}


def test_warnings(monkeypatch):
    root, own = logging.getLogger(), logging.getLogger("funnel")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(own, "level", own.level)
    run(["Warnings"], {})
    assert own.getEffectiveLevel() == logging.WARNING
    assert len(root.handlers) == 1
