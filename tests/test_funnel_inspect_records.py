"""`funnel inspect FILE.tfrecord`: rows by feature name, raw columns, damaged files; and it
imports neither TensorFlow nor Beam.
"""

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from features.fitted import Fitted
from features.spec import Spec
from funnel.cli.main import main
from funnel.inspection.schema import features, schema
from funnel.reports.examples import read_rows
from pipeline.output.examples import Rows
from pipeline.output.shards import write_shard
from pipeline.output.tfrecord import frame

SPEC = Spec.parse(
    {
        "features": {
            "user": {"kind": "categorical", "buckets": 100},
            "tags": {
                "kind": "categorical",
                "buckets": 50,
                "max_length": 2,
                "weights": "shares",
            },
            "price": {"kind": "numeric", "transform": "log1p"},
        },
        "labels": {"click": {"column": "clicked"}},
        "tasks": {"ctr": {"label": "click"}},
    }
)
NAN = float("nan")
ROWS = Rows(
    ids=np.array([[7, 3, 0], [0, 0, 0]], np.int32),
    dense=np.array([[1.5, 0.5, 1], [NAN, 1, 1]], np.float32),
    labels={"click": np.array([1, -1], np.int8)},
    weights=np.array([1, 4], np.float32),
    row_ids=pa.array(["é", "b"]),
)
NAMED = [
    {"id": "é", "click": 1, "weight": 1.0, "user": 7, "tags": [[3, 0.5]], "price": 1.5},
    {"id": "b", "click": None, "weight": 4.0, "user": None, "tags": [], "price": None},
]
KINDS = {"user": "categorical", "tags": "categorical", "price": "numeric"}


def write(folder, layout, compression="none", *, manifest=True):
    """A preprocessed directory with one shard; returns the shard."""
    (folder / "train").mkdir(parents=True)
    ending = ".gz" if compression == "gzip" else ""
    path = folder / f"train/part-00000-of-00001.tfrecord{ending}"
    shard = write_shard(path, SPEC, ROWS, layout=layout, compression=compression)
    SPEC.save(folder / "spec.json")
    if manifest:
        shards = {"train": [{"file": path.relative_to(folder).as_posix(), **shard}]}
        content = {"version": 3, "layout": layout, "weighted": True, "shards": shards}
        (folder / "manifest.json").write_text(json.dumps(content))
    return path


def document(capsys, path, *arguments):
    assert main(["inspect", str(path), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("manifest", [True, False], ids=["manifest", "spec-alone"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("layout", ["packed", "columns"])
def test_by_feature_name(layout, compression, manifest, tmp_path, capsys):
    path = write(tmp_path, layout, compression, manifest=manifest)
    found = document(capsys, path)
    assert found["first_rows"] == NAMED
    types = {column["name"]: column["type"] for column in found["columns"]}
    assert types == {"id": "id", "click": "label", "weight": "weight"} | KINDS
    assert found["rows"] == (2 if manifest else None)
    assert found["spec"] == str(tmp_path / "spec.json")
    assert document(capsys, path.parent, "--rows", "1")["first_rows"] == NAMED[:1]


def test_without_a_spec_the_keys_of_the_examples(tmp_path, capsys):
    path = write(tmp_path, "columns")
    (tmp_path / "spec.json").unlink()
    found = document(capsys, path)
    assert found["columns"] == [
        {"name": "click", "type": "int64"},
        {"name": "id", "type": "bytes"},
        {"name": "price", "type": "float"},
        {"name": "tags", "type": "int64"},
        {"name": "tags_weights", "type": "float"},
        {"name": "user", "type": "int64"},
        {"name": "weight", "type": "float"},
    ]
    assert found["first_rows"][0] == {
        "click": [1],
        "id": ["é"],
        "price": [1.5],
        "tags": [3],
        "tags_weights": [0.5],
        "user": [7],
        "weight": [1.0],
    }


def test_json_has_null_for_nan(tmp_path, capsys):
    path = write(tmp_path, "packed")
    (tmp_path / "spec.json").unlink()
    assert document(capsys, path)["first_rows"][1]["dense"] == [None, 1.0, 1.0]


@pytest.mark.parametrize("layout", ["packed", "columns"])
def test_rows_come_back_as_they_were_written(layout, tmp_path):
    path = write(tmp_path, layout)
    (rows,) = read_rows(path, SPEC, {"layout": layout, "weighted": True})
    np.testing.assert_array_equal(rows.ids, ROWS.ids)
    np.testing.assert_array_equal(rows.dense, ROWS.dense)
    np.testing.assert_array_equal(rows.labels["click"], [1, -1])
    np.testing.assert_array_equal(rows.weights, [1, 4])
    assert rows.row_ids.to_pylist() == ["é", "b"]
    assert [len(r) for r in read_rows(path, SPEC, {"layout": layout, "weighted": True}, 1)] == [
        1,
        1,
    ]


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "is cut off in record 2; copy": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "record 1 differs from its checksum; copy": lambda path: flipped(path, 30),
    "record 2 differs from its checksum; copy": lambda path: flipped(path, -1),
    "is not a TFRecord: it does not begin": lambda path: path.write_text("id,n\n" * 9),
    "is not gzipped, though its name ends in .gz; rename it": lambda path: path.rename(
        f"{path}.gz"
    ),
    "is gzipped, but its name does not end in .gz; rename it": lambda path: path.write_bytes(
        gzip.compress(path.read_bytes())
    ),
    "its records are not the tf.Examples that were expected": lambda path: path.write_bytes(
        frame(pa.array([b"hello"], pa.binary()))
    ),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_files(message, tmp_path, capsys):
    path = write(tmp_path, "packed")
    DAMAGE[message](path)
    (path,) = path.parent.iterdir()
    assert main(["inspect", str(path)]) == 2
    assert f"error: {path}: {message}" in capsys.readouterr().err


def test_gzip_that_is_cut_off(tmp_path, capsys):
    path = write(tmp_path, "packed", "gzip")
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["inspect", str(path)]) == 2
    assert f"{path}: cannot be read (Compressed file ended before" in capsys.readouterr().err


def test_a_damaged_length(tmp_path, capsys):
    path = write(tmp_path, "packed")
    length = int.from_bytes(path.read_bytes()[:8], "little")
    flipped(path, 16 + length)
    assert main(["inspect", str(path)]) == 2
    assert f"{path}: record 2 has a damaged length; copy" in capsys.readouterr().err


def test_the_spec_of_another_preprocessing(tmp_path, capsys):
    path = write(tmp_path, "packed")
    declared = SPEC.model_dump(exclude_none=True, mode="json")
    declared["features"].pop("price")
    Spec.parse(declared).save(tmp_path / "spec.json")
    assert main(["inspect", str(path)]) == 2
    assert "'dense' holds up to 3 values in an example, and spec.json expects 2; put back" in (
        capsys.readouterr().err
    )
    (tmp_path / "manifest.json").unlink()
    declared["labels"] = {"like": {"column": "liked"}}
    declared["tasks"] = {"ltr": {"label": "like"}}
    Spec.parse(declared).save(tmp_path / "spec.json")
    assert main(["inspect", str(path)]) == 2
    assert "has the keys click, dense, id, ids, weight, which are those of no layout of" in (
        capsys.readouterr().err
    )


def test_an_empty_file_has_no_rows(tmp_path, capsys):
    (tmp_path / "a.tfrecord").write_bytes(b"")
    assert document(capsys, tmp_path / "a.tfrecord")["first_rows"] == []


def test_check_compares_every_record(tmp_path, capsys):
    path = write(tmp_path, "packed")
    assert main(["inspect", str(path), "--check"]) == 0
    assert "crc32c of 2 records" in capsys.readouterr().out
    flipped(path, -1)
    assert main(["inspect", str(path), "--check"]) == 2
    out, error = capsys.readouterr()
    assert "damaged" in out
    expected = f"{path}: is damaged (record 2 differs from its checksum); 1 of 1 files are not as"
    assert expected in error


def test_the_schema_in_words():
    entries = schema(SPEC, "columns", weighted=True, fitted=None)
    words = {entry["key"]: (entry["type"], entry["length"], entry["meaning"]) for entry in entries}
    assert words == {
        "user": ("int64", "1", "bucket of 100, hashed; 0 is missing"),
        "tags": ("int64", "0 … 2", "up to 2 values: bucket of 50, hashed"),
        "tags_weights": ("float", "0 … 2", "weights of tags"),
        "price": (
            "float",
            "0 … 1",
            "the number as logged, left out if missing; the model takes log1p, standardizes it",
        ),
        "click": ("int64", "1", "label: 1 if clicked is '1', else 0; −1 is unknown"),
        "weight": ("float", "1", "sample weight: 1 / the share of such rows that was kept"),
        "id": ("bytes", "1", "the row's id in the log"),
    }
    ids, dense, *_ = schema(SPEC, "packed", weighted=False, fitted=None)
    assert (ids["length"], dense["length"]) == ("3", "3")
    assert [part["at"] for part in ids["parts"]] == ["ids[0]", "ids[1:3]"]
    assert [part["at"] for part in dense["parts"]] == ["dense[0]", "dense[1:3]"]
    assert dense["parts"][1]["meaning"] == "weights of tags"


def test_features_of_every_kind():
    spec = Spec.parse(
        {
            "features": {
                "item": {"kind": "categorical", "min_count": 2, "dim": 8},
                "seen": {"kind": "sequence", "max_length": 5, "shares": "item"},
                "slot": {"kind": "categorical", "buckets": 12, "identity": True, "dim": 8},
                "both": {"kind": "cross", "of": ["item", "device"], "buckets": 99},
                "hour": {"kind": "time", "column": "ts", "part": "hour"},
                "age": {"kind": "bucketized", "boundaries": [18, 30]},
                "price": {"kind": "numeric", "missing": 0, "clip": [0, 9], "scale": "minmax"},
                "pair": {"kind": "product", "of": ["item", "slot"]},
            },
            "labels": {"click": {"event": "clicks", "within": "30m"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )
    found = {
        one["feature"]: (one["encoding"], one["rows"], one["reads"], one["slots"])
        for one in features(spec, Fitted.parse({"vocabularies": {"item": [5, 7, 9]}}, ""))
    }
    hashed = "31-bit hash, which the model looks up in a vocabulary of 3 values"
    number = "the number as logged, NaN if missing; the model"
    assert found == {
        "item": (f"{hashed}; 0 is missing", 5, ["item"], ["ids[0]"]),
        "seen": (
            "up to 5 values, in order of time: encoded as item, whose table it shares; 0 pads",
            5,
            ["seen"],
            ["ids[1:6]"],
        ),
        "slot": ("the integer 0 … 10 itself, plus 1; 0 is missing", 12, ["slot"], ["ids[6]"]),
        "both": ("bucket of 99, hashed; 0 is missing", 99, ["item", "device"], ["ids[7]"]),
        "hour": ("the hour, plus 1; 0 is missing", 25, ["ts"], ["ids[8]"]),
        "age": (f"{number} puts it into 3 buckets", 4, ["age"], ["dense[1]"]),
        "price": (
            f"{number} replaces NaN by 0, clips it to 0 … 9, scales it to 0 … 1",
            None,
            ["price"],
            ["dense[0]"],
        ),
        "pair": (
            "product of the embeddings of item and slot; nothing is written",
            None,
            ["item", "slot"],
            [],
        ),
    }


CODE = """
import sys
from funnel.cli.main import main
code = main(["inspect", sys.argv[1]])
found = {"tensorflow", "apache_beam"} & set(sys.modules)
sys.exit(f"imported: {sorted(found)}" if found else code)
"""


def test_neither_tensorflow_nor_beam_is_imported(tmp_path):
    path = write(tmp_path, "packed")
    command = [sys.executable, "-c", CODE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "┃ price " in done.stdout
