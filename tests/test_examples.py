"""The examples: each configuration is valid, and the real data go through it whole."""

import json
from pathlib import Path

import pytest

from funnel.config.config import load
from pipeline.job import preprocess

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason=f"the real data are not at {SHARED}")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "funnel" / "examples").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_example_is_valid(path):
    resolved = load(path).resolved()
    assert resolved["tasks"].keys() <= {"ctr", "cvr", "income", "married", "never_married"}


def test_own_logs_take_about_25_lines():
    lines = (ROOT / "funnel" / "examples" / "ads.toml").read_text().splitlines()
    assert sum(bool(line.strip()) and not line.startswith(("#", "[")) for line in lines) <= 25


def run(example, folder, **files):
    """(manifest, statistics) of an example's preprocessing; `files` replace its files, by key."""
    overrides = [
        f"run={folder}/run",
        *(f"{key.replace('__', '.')}={path}" for key, path in files.items()),
    ]
    config = load(ROOT / "funnel" / "examples" / f"{example}.toml", overrides)
    manifest = preprocess(config.preprocess, config.data)
    return manifest, json.loads((config.data / "statistics.json").read_text()), config


@pytest.fixture(scope="module")
def census(tmp_path_factory):
    data = SHARED / "kdd_census"
    files = {
        "logs__table__files": data / "census-income.data.gz",
        "split__eval__files": data / "census-income.test.gz",
    }
    return run("census", tmp_path_factory.mktemp("census"), **files)


@needs_data
def test_census_is_reconciled(census):
    manifest, statistics, _ = census
    assert statistics["rows"] == {"train": 199_523, "eval": 99_762}
    rows = {
        "impressions_read": 299_285,
        "examples_written": 299_285,
        "rejected": 0,
        "duplicates": 0,
        "dropped_immature": 0,
        "sampled_out": 0,
    }
    assert manifest["rows"] == rows
    assert statistics["labels"]["train"]["income"] == {
        "positive": 12_382,
        "negative": 187_141,
        "unknown": 0,
    }


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    "sharing",
    [
        '{name="mmoe", experts=4, expert_units=[64, 32]}',
        '{name="ple", levels=2, shared_experts=2, task_experts=2, expert_units=[64, 32]}',
    ],
)
def test_census_reaches_the_published_auc(census, tmp_path, sharing):
    from funnel.stages.training import Run

    run = Run(
        load(ROOT / "funnel" / "examples" / "census.toml", [f"model.sharing={sharing}"]),
        census[2].data,
        tmp_path,
    )
    run.train()
    result = run.estimator.evaluate(run.eval_input)
    assert result["income"]["auc"] >= 0.947
    assert result["never_married"]["auc"] >= 0.992


@needs_data
@pytest.mark.parametrize("campaign", ["men", "women"])
def test_open_bandit_goes_through(tmp_path, campaign):
    files = {"logs__table__files": SHARED / "obd" / "random" / campaign / f"{campaign}.csv.gz"}
    manifest, statistics, _ = run("obd", tmp_path, **files)
    assert manifest["rows"]["examples_written"] == manifest["rows"]["impressions_read"] == 10_000
    assert sum(labels["click"]["positive"] for labels in statistics["labels"].values()) == 46
