"""`funnel export` says which loaders were asked, and what the checkpoint's evaluation warned of."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import funnel.stages.training
from funnel.cli.terminal import Terminal
from funnel.config.config import load
from funnel.listener import reporting_to
from funnel.stages.export import export
from model.serving.check import Check, LoaderCheck
from model.serving.export import Export

LOADERS = {
    "c_api": LoaderCheck(not_run="tensorflow holds no libtensorflow_cc"),
    "session": LoaderCheck(2e-8, 1.0),
}
WORSE = "'ctr' is not better than a constant: its log loss"


@pytest.fixture
def config(tmp_path, monkeypatch):
    (tmp_path / "demo.toml").write_text(
        (Path(__file__).parents[1] / "funnel/examples/demo.toml").read_text()
    )
    monkeypatch.chdir(tmp_path)
    return load(tmp_path / "demo.toml")


def exported(config, monkeypatch, capsys, evaluation):
    """The screen of an export of a checkpoint with this evaluation, and summary.json."""
    check = Check("2.21.0", 40, 3.5, LOADERS)
    made = Export(config.export_dir / "7", 7, ["p_ctr"], check, evaluation)
    estimator = SimpleNamespace(export_saved_model=lambda directory, on_step: made)
    monkeypatch.setattr(funnel.stages.training, "trained_estimator", lambda config: estimator)
    with reporting_to(Terminal()):
        assert export(config).result == made
    screen = " ".join(capsys.readouterr().out.split())
    return screen, json.loads((config.run / "summary.json").read_text())


def test_a_loader_that_was_not_run_is_warned_of(config, monkeypatch, capsys):
    evaluation = {"step": 9, "evaluation": {"ctr": {"auc": 0.5}}, "warnings": []}
    message, summary = exported(config, monkeypatch, capsys, evaluation)
    assert "session: equal to the checkpoint within 2e-08 →" in message
    assert "warning: the loader c_api was not run: tensorflow holds no libtensorflow_cc" in message
    assert summary["parity"] == {
        "tensorflow": "2.21.0",
        "rows": 40,
        "start_seconds": 3.5,
        "max_abs_difference": 2e-8,
        "loaders": {
            "c_api": {"not_run": "tensorflow holds no libtensorflow_cc"},
            "session": {"max_abs_difference": 2e-8, "seconds": 1.0},
        },
    }
    assert "not better" not in message
    assert "not evaluated" not in message


def test_a_model_worse_than_a_constant_is_warned_of(config, monkeypatch, capsys):
    evaluation = {"step": 9, "evaluation": {"ctr": {"auc": 0.5}}, "warnings": [WORSE]}
    message, summary = exported(config, monkeypatch, capsys, evaluation)
    assert f"warning: {WORSE}" in message
    assert summary["export"] == {
        "path": str(config.export_dir / "7"),
        "version": 7,
        "outputs": ["p_ctr"],
        "step": 9,
        "warnings": [WORSE],
    }


def test_a_checkpoint_that_was_not_evaluated_is_named(config, monkeypatch, capsys):
    evaluation = {"step": 1200, "evaluation": None, "warnings": []}
    message, _ = exported(config, monkeypatch, capsys, evaluation)
    assert "· step 1,200 was not evaluated, so the export has no metrics in its manifest" in message
