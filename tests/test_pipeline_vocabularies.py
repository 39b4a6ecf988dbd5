"""pipeline.sources.vocabularies: what the lines of a vocabulary file mean, and what cannot be
read.
"""

from __future__ import annotations

import gzip

import pytest
import zstandard
from log_files import T0
from pipeline_logs import run, write_logs

from features.errors import FunnelError
from funnel.config.config import load
from funnel.stages.table import STAGES
from pipeline.sources.vocabularies import read_vocabulary

CUT = gzip.compress(b"u0\n" * 99, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"u0\nu1\n", ["u0", "u1"]),
        (b"u0\nu1", ["u0", "u1"]),
        (b"\xef\xbb\xbfu0\r\nu1\r\n", ["u0", "u1"]),
        (b"u0 \n\tu1\t\n   \n", ["u0", "u1"]),
        (
            "a\u2028b\nc\x85d\ne\x0bf\x1cg\n\u00a0h\n".encode(),
            ["a\u2028b", "c\x85d", "e\x0bf\x1cg", "\u00a0h"],
        ),
        ("u0\ufeff\n".encode(), ["u0\ufeff"]),
    ],
)
@pytest.mark.parametrize(
    ("ending", "pack"),
    [("", bytes), (".gz", gzip.compress), (".GZ", gzip.compress), (".zst", zstandard.compress)],
)
def test_lines(tmp_path, content, values, ending, pack):
    path = tmp_path / f"v.txt{ending}"
    path.write_bytes(pack(content))
    assert read_vocabulary("user", str(path)) == values


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "v.txt",
            None,
            r"cannot be read as lines of UTF-8 \(\[Errno 2\] No such file.*\); give the",
        ),
        ("v.txt", b"\xff\n", r"cannot be read as lines of UTF-8 \('utf-8' codec can't decode"),
        ("v.txt.gz", CUT, "cannot be read as lines of UTF-8"),
        ("v.txt.gz", b"u0\n", "cannot be read as lines of UTF-8"),
        ("v.txt", b"\xef\xbb\xbf \n", "holds no value; write one a line"),
        ("folder", None, r"cannot be read as lines of UTF-8 \(\[Errno 21\] Is a directory"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, name, content, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FunnelError, match=rf"^features\.user\.vocabulary = '{name}': {match}"):
        read_vocabulary("user", name)


def test_a_value_twice_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.txt").write_text("u0\n\nu0 \n")
    with pytest.raises(FunnelError, match=r"line 3 of v.txt is 'u0', as is line 1: remove one$"):
        read_vocabulary("user", "v.txt")


def test_the_key_of_a_run_is_that_of_the_values(tmp_path, monkeypatch):
    """However the file is written and packed; so runs made before it was packed stay valid."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("user,y\nu0,1\n")
    config = load(
        {
            "run": "run",
            "logs": {"table": {"files": "rows.csv"}},
            "features": {"user": {"kind": "categorical", "vocabulary": "v.txt", "dim": 2}},
            "labels": {"y": {"column": "y"}},
            "tasks": {"t": {"label": "y"}},
        }
    )
    for content in (b"u0\nu1\n", b"\xef\xbb\xbfu0 \r\nu1"):
        (tmp_path / "v.txt").write_bytes(content)
        assert STAGES["preprocess"].inputs(config)[2] == [("v.txt", "u0\nu1\n")]
    (tmp_path / "v.txt").write_bytes(b"\xff")
    with pytest.raises(FunnelError, match=r"features\.user\.vocabulary = 'v\.txt': cannot be read"):
        STAGES["preprocess"].inputs(config)


@pytest.mark.parametrize(("values", "warned"), [("u0\nu1\n", 0), ("u1\nu9\n", 0), ("U0\n", 1)])
def test_a_file_of_which_no_row_has_a_value_is_a_warning(tmp_path, values, warned):
    path = tmp_path / "v.txt"
    path.write_text(values)
    rows = [{"id": f"i{n}", "ts": T0, "user": None if n % 3 else f"u{n % 2}"} for n in range(30)]
    write_logs(
        tmp_path, rows, [], [{"id": "nobody", "ts": T0 + 86_400 + 1800}]
    )  # after the longest window
    features = {"user": {"kind": "categorical", "vocabulary": str(path)}}
    manifest, examples = run(tmp_path, features=features)
    train = sum(example["split"] == "train" for example in examples.values())
    found = [line for line in manifest["warnings"] if line.startswith("features.")]
    assert (
        found
        == [
            f"features.user.vocabulary = '{path}': holds no value of {train} training rows, so all "
            "values share one row; compare how the file and the log spell them"
        ][:warned]
    )
