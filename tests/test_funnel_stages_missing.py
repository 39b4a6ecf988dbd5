"""A stage whose predecessors have not run says which command to run, and writes nothing."""

import json
import re

import pytest
from pipeline_logs import write_logs
from test_funnel_cli import END, GOOD, TOML

from funnel.cli.main import main
from funnel.reports.report import write_report

EVALUATION = {"ctr": {"auc": 0.5, "logloss": 0.3, "rows": 9, "threshold": 0.5}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: logs and my.toml, whose run is run/."""
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "report",
            "run: has no evaluation to report; run `funnel evaluate` first, after `funnel "
            "preprocess` and `funnel train`",
        ),
        (
            "evaluate",
            "run/data: is not a preprocessed directory ([Errno 2] No such file or directory: "
            "'run/data/manifest.json'); run `funnel preprocess` first",
        ),
        ("export", "run/model: holds no checkpoint; run `funnel train` first"),
        ("predict", "run/model: holds no checkpoint; run `funnel train` first"),
    ],
)
def test_without_a_run_directory(folder, capsys, command, message):
    assert main([command, "my.toml"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (folder / "run").exists()


def test_a_training_without_data(folder, capsys):
    assert main(["train", "my.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"^error: run/data: .*; run `funnel preprocess` first$", line)


def test_an_evaluation_before_a_training(folder, capsys):
    assert main(["preprocess", "my.toml"]) == 0
    assert main(["evaluate", "my.toml"]) == 2
    assert capsys.readouterr().err == (
        "error: run/model: holds no checkpoint; run `funnel train` first\n"
    )
    assert "evaluate" not in (folder / "run/.stages.json").read_text()


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (["data/manifest.json"], "run `funnel evaluate` first, after `funnel train`"),
        (["data/manifest.json", "model/model.json"], "run `funnel evaluate` first"),
        (["model/model.json"], "run `funnel evaluate` first, after `funnel preprocess`"),
    ],
)
def test_a_report_without_an_evaluation(folder, capsys, there, message):
    for name in there:
        write(folder / "run" / name, {})
    assert main(["report", "my.toml"]) == 2
    assert capsys.readouterr().err == f"error: run: has no evaluation to report; {message}\n"
    assert not (folder / "run/.stages.json").exists()


def test_a_report_without_the_curves_of_its_evaluation(folder, capsys):
    write(folder / "run/summary.json", {"evaluation": EVALUATION})
    for name in ("manifest.json", "statistics.json"):
        write(folder / "run/data" / name, {})
    assert main(["report", "my.toml"]) == 2
    assert capsys.readouterr().err == (
        "error: run/model/reliability.json: is missing, and the report draws it; run `funnel "
        "evaluate`\n"
    )


@pytest.mark.parametrize("file", ["manifest.json", "statistics.json"])
def test_a_report_without_data(folder, capsys, file):
    write(folder / "run/summary.json", {"evaluation": EVALUATION})
    write(folder / "run/model/reliability.json", {})
    for name in {"manifest.json", "statistics.json"} - {file}:
        write(folder / "run/data" / name, {})
    assert main(["report", "my.toml"]) == 2
    assert capsys.readouterr().err == (
        f"error: run/data/{file}: is missing, and the report shows what it holds; copy it from the "
        "preprocessed directory, or run `funnel preprocess` first\n"
    )


def test_a_report_before_the_export_and_without_a_log_of_the_training(folder, capsys):
    assert main(["preprocess", "my.toml"]) == 0
    run = folder / "run"
    summary = json.loads((run / "summary.json").read_text())
    write(run / "summary.json", summary | {"evaluation": EVALUATION})
    write(run / "model/reliability.json", {"ctr": [[0.1, 0.2, 5], [0.3, 0.2, 4]]})
    assert main(["report", "my.toml"]) == 0
    page = (run / "report.html").read_text()
    assert "<p>No log of the training was written.</p>" in page
    assert "<p>Not exported yet: run <code>funnel export</code>.</p>" in page
    write(run / "model/metrics.jsonl", '{"step": 5, "loss": {"ctr": 0.5}}\n{"step": 10, "lo')
    assert 'alt="loss by step"' in write_report(run, run / "data").read_text()
