"""A metric is a function and a line in METRICS: a toy one goes the whole way from the configuration
file to the report.
"""

import json

import numpy as np
import pytest

from funnel.cli.main import main
from funnel.console import text
from model.metrics import METRICS
from model.metrics.base import Metric, Sample

CONFIG = """
run = "{folder}/run"

[simulate]
out = "{folder}/logs"
impressions = 4000
users = 200
items = 100
days = 4
cvr = 0.3

[logs]
impressions = {{ files = "{folder}/logs/impressions/*/*", id = "impression_id", time = "ts" }}
clicks = {{ files = "{folder}/logs/clicks/*/*", id = "impression_id", time = "ts" }}

[labels]
click = {{ event = "clicks", within = "30m" }}

[features]
user_id = {{ kind = "categorical", buckets = 200, dim = 4 }}

[split]
eval = {{ last = "1d" }}

[tasks]
ctr = {{ label = "click" }}

[model]
sharing = {{ name = "shared_bottom", units = [4] }}
funnel = {{ name = "independent", tower_units = [4] }}

[train]
batch_size = 64
steps = 20
log_every = 5

[evaluation]
every = 5
early_stopping = {{ metric = "ctr brier", patience = 1, min_delta = 1.0 }}

[exporters]
best = {{ metric = "ctr brier", provided = ["ctr brier < 1"] }}
"""


def brier(sample: Sample) -> float | None:
    """(p − y)², its mean."""
    error = sample.prediction.astype(np.float64) - sample.label
    return float((error**2).mean()) if len(error) else None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run that was made while METRICS had one more entry, and its screen."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.toml").write_text(CONFIG.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            METRICS, "brier", Metric(brier, of="binary", better="lower", title="Brier score")
        )
        assert main(["run", str(folder / "toy.toml"), "--debug"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def evaluations(run):
    lines = [json.loads(line) for line in (run / "model/metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["evaluation"]["ctr"] for line in lines if "evaluation" in line}


def test_every_evaluation_has_it(run, evaluations):
    final = json.loads((run / "summary.json").read_text())["evaluation"]["ctr"]
    assert 0 < final["brier"] < 0.25
    assert final == pytest.approx(evaluations[10])


def test_training_stops_by_it(evaluations):
    assert list(evaluations) == [5, 10]  # the second did not improve by 1


def test_the_best_export_follows_it(run, evaluations):
    best = json.loads((run / "exporters/best/best.json").read_text())
    step, own = min(evaluations.items(), key=lambda item: item[1]["brier"])
    assert (best["metric"], best["step"]) == ("ctr brier", step)
    assert best["value"] == own["brier"]


def test_the_report_has_a_column(run):
    value = json.loads((run / "summary.json").read_text())["evaluation"]["ctr"]["brier"]
    page = (run / "report.html").read_text()
    assert "<th>Brier score</th>" in page
    assert f"<td>{text(value)}</td>" in page


def test_the_command_lists_it(run, monkeypatch, capsys):
    monkeypatch.setitem(METRICS, "brier", Metric(brier, of="binary", better="lower", title=""))
    assert main(["inspect", str(run)]) == 0
    assert "brier" in capsys.readouterr().out
