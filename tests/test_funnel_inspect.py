"""`funnel inspect`: all of the statistics in 100 columns, and examples by feature name from either
layout.
"""

import json
import shutil
from hashlib import sha256

import pyarrow as pa
import pytest
from pipeline_logs import make_config, write_logs

from features import hashing
from features.spec import Spec
from funnel import console
from funnel.cli.main import main
from funnel.reports import statistics_tables
from funnel.reports.examples import first_examples
from pipeline.job import preprocess

T0, DAY = 1_790_000_000, 86_400
FEATURES = {
    "user": {"kind": "categorical", "buckets": 100},
    "tags": {"kind": "categorical", "buckets": 50, "max_length": 3, "weights": "shares"},
    "paid": {"kind": "categorical", "buckets": 10},
    "again": {"kind": "categorical", "column": "paid", "buckets": 6},  # yes and no share a bucket
    "price": {"kind": "numeric", "transform": "log1p"},
    "age": {"kind": "bucketized", "quantiles": 4},
}
LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "dwell": {"event": "clicks", "value": "seconds", "after": "click"},
}
LAYOUTS = [("packed", "none"), ("columns", "gzip")]


def impression(n):
    tags = {"tags": ["[red]", "b"][: n % 3], "shares": [0.5, 2.0][: n % 3]}
    row = {
        "id": f"i{n}",
        "ts": T0 + n * 3600,
        "user": f"user {n % 7}",
        "price": None if n % 9 == 0 else n / 4,
        "age": n % 60,
    }
    return row | tags | {"paid": "yes" if n % 4 == 0 else "no"}


@pytest.fixture(scope="module", params=LAYOUTS, ids=["packed", "columns-gzip"])
def made(request, tmp_path_factory):
    """(run, the impressions by id)."""
    run, rows = tmp_path_factory.mktemp("run"), [impression(n) for n in range(240)]
    clicks = [{"id": row["id"], "ts": row["ts"] + 5, "seconds": 2.5} for row in rows[::4]] + [
        {"id": "?", "ts": T0 + 99 * DAY, "seconds": 1}
    ]
    write_logs(run, [*rows, rows[0]], clicks)
    logs = {
        s: {"files": f"{run}/{s}*", "id": "id", "time": "ts"} for s in ("impressions", "clicks")
    }
    output = {
        "shards": 2,
        "max_rejects": 1.0,
        "layout": request.param[0],
        "compression": request.param[1],
    }
    sections = {
        "logs": logs,
        "features": FEATURES,
        "labels": LABELS,
        "tasks": {"ctr": {"label": "click"}},
        "output": output,
    }
    preprocess(
        make_config(
            run, **sections, sampling={"negatives": 0.5}, split={"eval": {"fraction": 0.2}}
        ),
        run / "data",
    )
    return run, {row["id"]: row for row in rows}


@pytest.fixture
def shown(made, capsys, monkeypatch):
    """What `funnel inspect RUN …` prints in 100 columns."""
    monkeypatch.setattr(console.console, "_width", 100)

    def inspect(*arguments):
        assert main(["inspect", str(made[0]), *arguments]) == 0
        return capsys.readouterr().out

    return inspect


def test_shows_all_of_it_in_100_columns(shown):
    out = shown()
    titles = [
        "Impressions",
        "Inputs",
        "Events",
        "Calendar",
        "Labels",
        "Correlation of labels",
        "Days",
        "Features with ids",
    ]
    titles += [
        "Hash collisions",
        "Frequent values that share a bucket",
        "Numbers",
        "Quantiles",
        "AUC of each feature alone",
    ]
    assert [title for title in titles if f"\n{title}" not in "\n" + out] == []
    tables = [line for line in out.splitlines() if line[:1] in "┃│┏└"]
    assert max(map(len, tables)) <= 100
    assert "duplicate" in out
    assert "2026-09-22" in out
    assert "[red]" in out  # a value, no markup
    assert "│ again   │ no 74.7 % │ yes 25.3 % │        – │" in out
    assert (
        "warning: features.again.buckets = 6: the frequent values 'no' (74.7 % of rows) and "
        "'yes' (25.3 % of rows) share" in out
    )
    assert "warning: features.paid alone predicts label 'click' with an AUC of 1.000" in out


def test_shows_examples_by_feature_name(made, shown):
    run, rows = made
    examples = first_examples(
        run / "data", json.loads((run / "data" / "manifest.json").read_text()), 7
    )
    assert len(examples) == 7
    for example in examples:
        row = rows[example["id"]]
        number, clicked = int(example["id"][1:]), int(example["id"][1:]) % 4 == 0
        assert example["user"] == bucket(row["user"], 100)
        assert example["tags"] == [
            (bucket(t, 50), w) for t, w in zip(row["tags"], row["shares"], strict=True)
        ]
        assert example["price"] == row["price"]
        assert (example["age"], example["click"]) == (number % 60, int(clicked))
        assert (example["dwell"], example["weight"]) == (2.5 * clicked, 1 if clicked else 2)
    out = shown("--rows", "7")
    assert all(example["id"] in out for example in examples)
    assert [name for name in (*FEATURES, *LABELS, "weight") if f"│ {name} " not in out] == []


def document(made, capsys, *path):
    """The JSON document of RUN/path."""
    assert main(["inspect", str(made[0].joinpath(*path)), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_document_of_a_preprocessed_directory(made, capsys):
    run, _ = made
    manifest = json.loads((run / "data" / "manifest.json").read_text())
    found = document(made, capsys, "data")
    shards = manifest["shards"]["train"]
    assert found["splits"]["train"] == {
        "rows": sum(shard["rows"] for shard in shards),
        "shards": 2,
        "bytes": sum(shard["bytes"] for shard in shards),
    }
    assert found["rows"] == manifest["rows"]
    assert [feature["feature"] for feature in found["features"]] == list(FEATURES)
    assert found["labels"]["dwell"] == (
        "label: first seconds of an event of clicks after click, 0 without one; −1 is unknown"
    )
    assert found["tasks"]["ctr"]["label"] == "click"
    keys = [entry["key"] for entry in found["schema"]]
    packed = ["ids", "dense", "click", "dwell", "weight", "id"]
    assert keys == packed if found["layout"] == "packed" else {"tags_weights", "user"} < set(keys)
    assert found["written"].startswith("20")
    assert {"kind": "data", "path": str(run / "data")} | document(made, capsys)["data"] == found


def test_the_document_of_a_run_without_stages(made, capsys):
    found = document(made, capsys)
    assert (found["kind"], found["configuration"], found["model"]) == ("run", None, None)
    assert (found["stages"], found["exports"], found["evaluation"]) == ({}, [], {})


def test_everything_new_fits_80_columns(made, capsys, monkeypatch):
    monkeypatch.setattr(console.console, "_width", 80)
    assert main(["inspect", str(made[0])]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if line[:1] in "┏┃┡│└") <= 80
    for title in ("Features", "The tf.Example (layout ", "Tasks"):
        assert f"\n{title}" in out


@pytest.fixture
def copied(made, tmp_path):
    """A copy of data/."""
    shutil.copytree(made[0] / "data", tmp_path / "data")
    return tmp_path / "data"


def test_check_of_what_is_as_it_was_written(copied, capsys):
    assert main(["inspect", str(copied), "--check", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {file["status"] for file in files} == {"ok"}
    names = {str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()}
    unlisted = {"manifest.json", "rejects/impressions.jsonl", "rejects/clicks.jsonl"}
    assert names - {file["file"].removeprefix(f"{copied}/") for file in files} <= unlisted


def test_check_lists_all_and_names_the_first(copied, capsys):
    shard = next((copied / "train").iterdir())
    content = shard.read_bytes()
    shard.write_bytes(damaged := bytes([content[0] ^ 1]) + content[1:])
    (copied / "fitted.json").unlink()
    (copied / "spec.json").write_text((copied / "spec.json").read_text() + "\n")
    assert main(["inspect", str(copied), "--check", "--json"]) == 2
    out, error = capsys.readouterr()
    files = json.loads(out)["files"]
    status = {file["file"].removeprefix(f"{copied}/"): file["status"] for file in files}
    status = {name: found for name, found in status.items() if found != "ok"}
    assert status == {
        f"train/{shard.name}": "damaged",
        "spec.json": "damaged",
        "fitted.json": "missing",
    }
    found, recorded = (sha256(held).hexdigest() for held in (damaged, content))
    said = f"its sha256 is {found}, the manifest says {recorded}"
    assert f"error: {shard}: is damaged ({said}); 3 of 9 files" in error
    assert main(["inspect", str(copied), "--check"]) == 2
    assert "6 of 9 files are as they were written" in capsys.readouterr().out


def test_check_of_a_directory_whose_files_have_no_checksums(copied, capsys):
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["files"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert main(["inspect", str(copied), "--check"]) == 0
    out = capsys.readouterr().out
    assert "4 of 9 files are as they were written" in out
    assert "unrecorded: the version of funnel that wrote the file recorded no checksum" in out


def test_check_and_rows_exclude_each_other(copied, capsys):
    assert main(["inspect", str(copied), "--check", "--rows", "2"]) == 2
    assert "--check compares whole files: give it without --rows" in capsys.readouterr().err


def test_a_spec_of_another_preprocessing_is_refused(copied, capsys):
    spec = json.loads((copied / "spec.json").read_text())
    del spec["features"]["price"]
    Spec.parse({key: spec[key] for key in Spec.model_fields}).save(copied / "spec.json")
    assert main(["inspect", str(copied)]) == 2
    error = capsys.readouterr().err
    assert "belong to different preprocessings; put back the file that was replaced, or" in error


def bucket(text, buckets):
    return hashing.bucket_ids(pa.array([text]), buckets)[0]


@pytest.mark.parametrize("rows", ["0", "-1", "x"])
def test_rows_must_be_a_count(rows, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", "run", "--rows", rows])
    assert "is not a whole number of at least 1" in capsys.readouterr().err


def test_another_versions_directory_is_refused(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text('{"layout": 1}')
    assert main(["inspect", str(tmp_path)]) == 2
    assert (
        "has version 1, but this program reads version 3; run `funnel preprocess` again"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.123, "12.3 %"),
        (0.00123, "0.12 %"),
        (0.0000042, "0.00042 %"),
        (None, "–"),
    ],
)
def test_shares(share, text):
    assert statistics_tables._share(share) == text
