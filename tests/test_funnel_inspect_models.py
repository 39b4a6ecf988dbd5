"""`funnel inspect` of a model, its checkpoints, exports, simulations and experiments; and what it
reads without TensorFlow equals what TensorFlow reads.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from test_funnel_inspect_records import SPEC, write

from funnel.cli.main import main
from funnel.experiments.references import read
from funnel.inspection.saved_model import read_signatures
from model.data.input import Data
from model.estimator.checkpoint_files import read_tensors


def document(capsys, path, *arguments, code=0):
    assert main(["inspect", str(path), "--json", *arguments]) == code
    out, error = capsys.readouterr()
    return json.loads(out) | {"error": error}


class Doubler(tf.Module):
    def __init__(self):
        self.factor = tf.Variable(2.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None, None], tf.string, name="tags"),
            tf.TensorSpec([None, 3], tf.int64, name="ids"),
        ]
    )
    def twice(self, x, tags, ids):
        return {"y": x * self.factor, "size": tf.size(tags) + 0 * tf.size(ids)}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A directory with one version."""
    folder, module = tmp_path_factory.mktemp("export"), Doubler()
    signatures = {"serving_default": module.twice}
    tf.saved_model.save(module, str(folder / "1763800000"), signatures=signatures)
    return folder


def test_signatures(export):
    assert read_signatures(export / "1763800000") == {
        "tensorflow": tf.__version__,
        "signatures": {
            "serving_default": {
                "inputs": {
                    "ids": "int64 [batch, 3]",
                    "tags": "string [batch, any]",
                    "x": "float32 [batch]",
                },
                "outputs": {"size": "int32 []", "y": "float32 [batch]"},
            }
        },
    }


def test_a_saved_model_that_is_cut_off(tmp_path, capsys):
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\xff")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "saved_model.pb: is not a SavedModel (" in capsys.readouterr().err


def test_an_export(export, capsys):
    (version,) = document(capsys, export)["exports"]
    assert (version["version"], version["written"]) == (1763800000, "2025-11-22T08:26:40Z")
    assert document(capsys, export / "1763800000")["signatures"] == version["signatures"]
    assert main(["inspect", str(export)]) == 0
    assert "│ serving_default │ inputs  │ ids    │ int64 [batch, 3]" in capsys.readouterr().out


def test_check_of_an_export_without_checksums(export, capsys):
    files = document(capsys, export, "--check")["files"]
    assert {file["status"] for file in files} == {"unrecorded"}
    assert any(file["file"].endswith("saved_model.pb") for file in files)


@pytest.fixture
def model(tmp_path):
    """A model's directory with the checkpoints of two steps."""
    checkpoint = tf.train.Checkpoint(table=tf.Variable(np.arange(5000, dtype=np.float32)))
    manager = tf.train.CheckpointManager(
        checkpoint, str(tmp_path / "checkpoints"), 3, checkpoint_name="ckpt"
    )
    for step in (9, 10):
        manager.save(step)
    content = {
        "model": {"sharing": {"name": "mmoe"}, "funnel": {"name": "esmm"}},
        "train": {"batch_size": 256},
        "mode": {"precision": "float32"},
        "chosen": {"rows": 1000},
    }
    (tmp_path / "model.json").write_text(json.dumps(content))
    return tmp_path


def test_a_model(model, capsys):
    found = document(capsys, model)
    assert [one["step"] for one in found["checkpoints"]] == [9, 10]
    assert found["checkpoints"][0]["bytes"] > 20_000
    assert found["architecture"] == {"sharing": "mmoe", "funnel": "esmm", "weighting": None}
    assert found["training_rows"] == 1000
    of_folder = document(capsys, model / "checkpoints")
    assert of_folder["checkpoints"] == found["checkpoints"]
    assert main(["inspect", str(model)]) == 0
    out = capsys.readouterr().out
    assert "sharing mmoe, funnel esmm" in out
    assert "at step 9, 10; the last written 20" in out


def test_check_of_checkpoints(model, capsys):
    tensors = read_tensors(str(model / "checkpoints" / "ckpt-10"))
    files = document(capsys, model, "--check")["files"]
    assert [file["status"] for file in files] == ["ok", "ok"]
    assert files[0]["file"] == str(model / "checkpoints" / "ckpt-10")
    assert files[0]["detail"] == f"crc32c of {tensors} tensors"


def test_check_of_damaged_checkpoints(model, capsys):
    folder = model / "checkpoints"
    data = folder / "ckpt-9.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    (folder / "ckpt-10.index").unlink()
    found = document(capsys, folder, "--check", code=2)
    status = {file["file"]: (file["status"], file["detail"]) for file in found["files"]}
    assert status[str(folder / "ckpt-10.index")] == ("missing", "")
    damaged, detail = status[str(folder / "ckpt-9")]
    assert damaged == "damaged"
    assert "Checksum does not match" in detail
    assert f"error: {folder / 'ckpt-10.index'}: is missing; 2 of 2 files are not" in found["error"]


def test_rows_are_not_for_models(model, capsys):
    assert main(["inspect", str(model), "--rows", "3"]) == 2
    assert "--rows shows rows of a run, of data/, of TFRecords and" in capsys.readouterr().err


def test_a_simulation(tmp_path, capsys):
    counts = {"clicks": {"rows": 3, "true": 2}, "config": {"seed": 1}}
    (tmp_path / "simulation.json").write_text(json.dumps(counts))
    (tmp_path / "clicks.csv").write_text("id\nx\n")
    found = document(capsys, tmp_path)
    assert found["counts"] == {"clicks": {"rows": 3, "true": 2}}
    assert (found["configuration"], found["streams"][0]["name"]) == ({"seed": 1}, "clicks")
    assert main(["inspect", str(tmp_path)]) == 0
    assert "│ rows │      3 │" in capsys.readouterr().out


def test_an_experiment(tmp_path, capsys):
    lines = [
        {"setting": "mmoe", "seed": seed, "of": {}, "metrics": {"auc": 0.5}} for seed in (1, 2)
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "summary.json").write_text('{"mmoe": {"auc": {"mean": 0.5, "std": 0.0}}}')
    assert document(capsys, tmp_path)["seeds"] == {"mmoe": [1, 2]}
    assert main(["inspect", str(tmp_path)]) == 0
    assert "│ mmoe    │     2 │ auc 0.5 │" in capsys.readouterr().out
    (tmp_path / "results.jsonl").write_text("{}")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "results.jsonl: is not the results of an experiment" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["packed", "columns"])
def test_tfx_bsl_reads_what_tf_data_reads(layout, tmp_path):
    path = write(tmp_path, layout)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"]["eval"] = manifest["shards"]["train"]
    content = manifest | {"fingerprint": SPEC.fingerprint, "compression": "none"}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    (tmp_path / "fitted.json").write_text("{}")
    data = Data(tmp_path, SPEC)
    records = tf.data.TFRecordDataset(str(path)).batch(10).map(data.parse)
    (expected,) = records.as_numpy_iterator()
    rows = read(data, "train")
    np.testing.assert_array_equal(rows.ids, expected["ids"])
    np.testing.assert_array_equal(rows.dense, expected["dense"])
    np.testing.assert_array_equal(rows.labels["click"], expected["click"])
    np.testing.assert_array_equal(rows.weight, expected["weight"])
