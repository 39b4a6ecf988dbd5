"""docs/training.md: its Python runs, its configuration is one that the program takes, its job is a
shell's.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import tomli_w
from model_data import FEATURES, LABELS, TASKS, write_data

from funnel.config.config import Sections, load

PAGE = (Path(__file__).parents[1] / "docs/training.md").read_text()
BLOCKS = {
    kind: re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "toml", "sh")
}


@pytest.mark.slow
def test_the_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "runs/my", train=600, evaluate=200)
    train = {"batch_size": 256, "steps": 20, "log_every": 20, "precision": "float32", "xla": False}
    sections = {"features": FEATURES, "labels": LABELS, "tasks": TASKS, "train": train}
    (tmp_path / "my.toml").write_text(
        tomli_w.dumps(sections | {"model": {"sharing": {"name": "mmoe", "expert_units": [4]}}})
    )
    names = {}
    exec(BLOCKS["python"][0], names)
    assert names["ended"].step == 60
    assert len(names["scores"]) == 200
    assert [
        len(list((tmp_path / "runs/mine" / made).glob("1*"))) for made in ("export", "final")
    ] == [1, 1]
    assert capsys.readouterr().out.count("\n60 {'ctr'") == 2  # the report, and the evaluation


def test_the_configuration(tmp_path):
    sections = tomllib.loads(BLOCKS["toml"][0])
    Sections.parse(sections)
    features = FEATURES | {"user_id": {"kind": "categorical", "buckets": 9, "dim": 2}}
    path = tmp_path / "my.toml"
    path.write_text(
        tomli_w.dumps(sections | {"features": features, "labels": LABELS, "tasks": TASKS})
    )
    config = load(path)
    assert config.train.features["user_id"].learning_rate == 0.02
    assert config.run_config.profile == (200, 210)
    assert config.exporters.best.provided == ["ctr auc >= 0.7"]
    assert config.evaluation.early_stopping.patience == 3


@pytest.mark.parametrize(
    ("yesterday", "start"), [(True, " --warm-start runs/2026-11-07"), (False, "")]
)
def test_the_daily_job(tmp_path, yesterday, start):
    (tmp_path / "funnel").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "funnel").chmod(0o755)
    if yesterday:
        (tmp_path / "runs/2026-11-07/model").mkdir(parents=True)
    (tmp_path / "job").write_text(BLOCKS["sh"][0])
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-e", "job", "2026-11-08"],
        cwd=tmp_path,
        env=path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        done.stdout.strip()
        == f"run my.toml --set run=runs/2026-11-08 --dates 2026-11-02..2026-11-08{start}"
    )
