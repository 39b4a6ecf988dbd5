"""`funnel run` a second time, with another configuration or from another run."""

import json

import pytest
from test_funnel_run import CONFIG

from funnel.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("again")
    (folder / "small.toml").write_text(
        CONFIG.format(folder=folder).replace("impressions = 6000", "impressions = 3000")
    )
    assert main(["run", str(folder / "small.toml"), "--set", "train.steps=10", "--debug"]) == 0
    return folder


def steps(run):
    return [
        json.loads(line)["step"] for line in (run / "model/metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.slow
def test_more_steps_and_exporters_go_on(folder, capsys):
    assert list((folder / "run/model/tensorboard").iterdir())
    (folder / "run/model/mine").touch()
    changes = [
        "train.steps=12",
        "evaluation.every=6",
        "exporters.final={}",
        'evaluation.early_stopping={metric="ctr auc"}',
    ]
    arguments = [
        "run",
        str(folder / "small.toml"),
        *(part for change in changes for part in ("--set", change)),
    ]
    assert main(arguments) == 0
    assert [
        line.split()[1] for line in capsys.readouterr().out.splitlines() if "unchanged" in line
    ] == ["simulate", "preprocess"]
    assert (folder / "run/model/mine").exists()  # the model was not trained again
    assert steps(folder / "run") == [5, 10, 12, 12]  # the last is an evaluation
    assert len(list((folder / "run/exporters/final").iterdir())) == 1


@pytest.mark.slow
def test_from_another_run_with_statistics_of_its_own(folder, capsys):
    new = [
        "run",
        str(folder / "small.toml"),
        "--warm-start",
        str(folder / "run"),
        "--refresh-statistics",
    ]
    new += [
        part
        for change in (f"run={folder}/next", "train.steps=5", "features.user_id.buckets=400")
        for part in ("--set", change)
    ]
    assert main(new) == 0
    changed = "feature 'user_id' has changed (buckets was 500 and is 400)"
    assert f"{changed}: its embeddings start from scratch" in capsys.readouterr().out
    assert steps(folder / "next") == [5]  # its own are counted
    assert json.loads((folder / "next/model/model.json").read_text())["fitted"] == json.loads(
        (folder / "next/data/fitted.json").read_text()
    )
