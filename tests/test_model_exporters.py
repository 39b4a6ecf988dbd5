"""What is published during a training, and when."""

import json
from types import SimpleNamespace

import pytest

from features.errors import FunnelError
from model.estimator.exporters import BestExporter, FinalExporter, LatestExporter
from model.evaluation.conditions import Condition


class Estimator:
    """Publishes versions 8, 9, 10, …: as numbers 10 comes after 9."""

    def __init__(self) -> None:
        self.version = 8

    def export_saved_model(self, directory):
        path = directory / str(self.version)
        path.mkdir(parents=True)
        self.version += 1
        return SimpleNamespace(path=path)


def metrics(ctcvr: float | None, ctr: float = 0.8) -> dict:
    return {"ctr": {"auc": ctr, "calibration": 1.05}, "ctcvr": {"auc": ctcvr, "logloss": 0.1}}


def versions(directory) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if p.is_dir())


def test_the_latest_stay(tmp_path):
    exporter, estimator = LatestExporter(tmp_path, keep=2), Estimator()
    for step in range(4):
        exporter(estimator, metrics(0.5), step, False)
    assert versions(tmp_path) == ["10", "11"]


def test_the_final_is_published_once(tmp_path):
    exporter, estimator = FinalExporter(tmp_path), Estimator()
    assert [exporter(estimator, metrics(0.5), step, step == 2) for step in range(3)] == [
        None,
        None,
        tmp_path / "8",
    ]


def test_the_best_while_a_condition_holds(tmp_path):
    exporter, estimator = (
        BestExporter(tmp_path, metric="ctcvr auc", provided=["ctr auc >= 0.7"]),
        Estimator(),
    )
    given = [(0.6, 0.8), (0.7, 0.69), (0.65, 0.7), (0.65, 0.9), (None, 0.9), (0.64, 0.9)]
    published = [
        exporter(estimator, metrics(*pair), step, False) for step, pair in enumerate(given)
    ]
    # .7 comes with a ctr auc below .7; .65 again is no better
    assert [path and path.name for path in published] == ["8", None, "9", None, None, None]
    assert versions(tmp_path) == ["9"]
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "metric": "ctcvr auc",
        "value": 0.65,
        "step": 2,
        "version": "9",
    }


def test_the_best_is_remembered_over_a_restart(tmp_path):
    estimator = Estimator()
    BestExporter(tmp_path, metric="ctcvr logloss")(estimator, metrics(0.5), 1, False)
    again = BestExporter(tmp_path, metric="ctcvr logloss")
    assert again(estimator, metrics(0.5), 2, False) is None  # the same .1
    lower = metrics(0.5) | {"ctcvr": {"logloss": 0.09}}
    assert again(estimator, lower, 3, False).name == "9"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ctr auc >= 0.8", True),
        ("ctr auc > 0.8", False),
        ("ctr auc ≤ 8e-1", True),
        ("ctr calibration<1.05", False),
        ("ctcvr auc ≥ 0", False),  # it is not defined
    ],
)
def test_conditions(text, holds):
    assert Condition.parse(text).holds(metrics(None)) == holds


@pytest.mark.parametrize("text", ["ctr auc", "auc >= 0.5", "ctr auc >= x", "ctr auc == 1", ""])
def test_what_is_no_condition(text):
    with pytest.raises(FunnelError, match=r"is not a condition: write one as in 'ctr auc >= 0\.7'"):
        Condition.parse(text)


def test_an_unknown_metric_names_the_known(tmp_path):
    exporter = BestExporter(tmp_path, metric="ctcvr auc", provided=["ctr gauc > 0.5"])
    with pytest.raises(
        FunnelError,
        match="'ctr gauc' is not measured; these are: ctr: auc, calibration; ctcvr: auc, logloss",
    ):
        exporter(Estimator(), metrics(0.5), 1, False)
