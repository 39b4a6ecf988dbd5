"""`funnel inspect`: what a path is, and what it says of one that it does not know."""

import pytest

from features.errors import FunnelError
from funnel.inspection import kinds
from funnel.inspection.kinds import identify

KINDS = {
    "run": ["data/manifest.json", "data/spec.json", "logs/clicks.csv", "config.toml"],
    "data": ["manifest.json", "spec.json", "statistics.json", "rejects/clicks.jsonl"],
    "model": ["model.json", "metrics.jsonl"],
    "checkpoints": ["ckpt-10.index", "ckpt-10.data-00000-of-00001"],
    "version": ["saved_model.pb", "assets/spec.json"],
    "export": ["1763800000/saved_model.pb", "best.json"],
    "simulation": ["simulation.json", "clicks/part-0.csv"],
    "experiment": ["results.jsonl", "summary.json"],
    "tfrecords": ["part-00000-of-00002.tfrecord.gz"],
    "log": ["clicks/dt=2026-11-01/part-0.csv.zst", "notes.md"],
}


def make(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_directories(kind, tmp_path):
    assert identify(make(tmp_path, KINDS[kind])) == kind
    assert kind in kinds.TITLES


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tfrecord", "tfrecord"),
        ("a.tfrecord.gz", "tfrecord"),
        ("a.tfrecord-00000-of-00002", "tfrecord"),
        ("a.parquet", "log"),
        ("a.jsonl.gz", "log"),
        ("a.csv.zst", "log"),
        ("a.json", "log"),
    ],
)
def test_files(name, kind, tmp_path):
    make(tmp_path, [name])
    assert identify(str(tmp_path / name)) == kind


@pytest.mark.parametrize("path", ["logs/*.csv", "s3://bucket/logs/*.csv"])
def test_patterns(path):
    assert identify(path) == "log"


@pytest.mark.parametrize(
    ("names", "path", "message"),
    [
        ([], "nowhere", "nowhere: there is no such file or directory; give a run's directory"),
        ([], ".", "the directory is empty; `funnel run` or `funnel preprocess` fills"),
        (
            ["notes.md"],
            ".",
            "not a directory that funnel writes, and has no TFRecords or logs; it ",
        ),
        (["package.json"], ".", "holds package.json; give a run's directory, as in runs/demo"),
        (["b/.stages.json", "a/config.toml"], ".", "but holds some; inspect one: .*/a, .*/b$"),
        (["data/spec.json"], "data/spec.json", "is one file of a directory: inspect the directory"),
        (["notes.md"], "notes.md", "none that funnel knows; give a TFRecord file .* or a log"),
    ],
)
def test_what_is_not_known(names, path, message, tmp_path, monkeypatch):
    make(tmp_path, names)
    with pytest.raises(FunnelError, match=message):
        identify(str(tmp_path / path))


def test_no_permission(tmp_path, monkeypatch):
    make(tmp_path, ["a.csv"])

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kinds.Path, "open", refuse)
    with pytest.raises(FunnelError, match=r"a\.csv: cannot be read \(Permission denied\); ch"):
        identify(str(tmp_path / "a.csv"))
