"""`funnel export` says which loaders were asked."""

import json
from pathlib import Path
from types import SimpleNamespace

import funnel.stages.training
from funnel.cli.terminal import Terminal
from funnel.config.config import load
from funnel.listener import reporting_to
from funnel.stages.export import export
from model.serving.check import Check, LoaderCheck
from model.serving.export import Export


def test_a_loader_that_was_not_run_is_warned_of(tmp_path, monkeypatch, capsys):
    loaders = {
        "c_api": LoaderCheck(not_run="tensorflow holds no libtensorflow_cc"),
        "session": LoaderCheck(2e-8, 1.0),
    }
    made = Export(tmp_path / "export/7", 7, ["p_ctr"], Check("2.21.0", 40, 3.5, loaders))
    estimator = SimpleNamespace(export_saved_model=lambda directory, on_step: made)
    monkeypatch.setattr(funnel.stages.training, "trained_estimator", lambda config: estimator)
    (tmp_path / "demo.toml").write_text(
        (Path(__file__).parents[1] / "funnel/examples/demo.toml").read_text()
    )
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path / "demo.toml")
    with reporting_to(Terminal()):
        assert export(config).result == made
    message = " ".join(capsys.readouterr().out.split())
    assert "session: equal to the checkpoint within 2e-08 →" in message
    assert "warning: the loader c_api was not run: tensorflow holds no libtensorflow_cc" in message
    assert json.loads((config.run / "summary.json").read_text())["parity"] == {
        "tensorflow": "2.21.0",
        "rows": 40,
        "start_seconds": 3.5,
        "max_abs_difference": 2e-8,
        "loaders": {
            "c_api": {"not_run": "tensorflow holds no libtensorflow_cc"},
            "session": {"max_abs_difference": 2e-8, "seconds": 1.0},
        },
    }
