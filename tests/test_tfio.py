"""tensorflow-io reads s3:// shards in place: run by `make test-tfio`, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip(
    "tensorflow_io", reason="tensorflow-io loads into TensorFlow 2.16 alone: make test-tfio"
)

import tensorflow as tf

from features.errors import FunnelError
from funnel.cli.main import main
from funnel.config.config import load
from model.data.input import Data

URI = "s3://logs/ads/data"
GIVEN = Path(os.environ.get("FUNNEL_TFIO_DATA", "/nowhere"))  # what tests/tfio_data.py wrote


@pytest.fixture
def config(tmp_path, server, bucket, monkeypatch):
    """A configuration whose data lies at URI."""
    monkeypatch.setenv("S3_ENDPOINT", server)
    monkeypatch.setenv("FUNNEL_CACHE", str(tmp_path / "cache"))
    for path in (GIVEN / "data").rglob("*"):
        if path.is_file():
            bucket(f"ads/data/{path.relative_to(GIVEN / 'data')}", path.read_bytes())
    path = tmp_path / "ads.toml"
    path.write_text(f'run = "{tmp_path}/run"\ndata = "{URI}"\n' + (GIVEN / "ads.toml").read_text())
    return path


def ids(data, split):
    given = {"batch_size": 16} | ({"shuffle_buffer": 50, "seed": 1} if split == "train" else {})
    batches = getattr(data, f"{split}_input")(**given)(tf.distribute.InputContext())
    return [b["id"].numpy().tolist() for b in batches.take(4)]


def test_the_shards_are_read_where_they_are(tmp_path, config):
    spec = load(config).spec
    here, there = (Data(source, spec) for source in (GIVEN / "data", URI))
    assert [ids(here, split) for split in ("train", "eval")] == [
        ids(there, split) for split in ("train", "eval")
    ]
    assert not list((tmp_path / "cache").rglob("*.tfrecord"))


def test_what_is_not_there_names_both_ways(config):
    with pytest.raises(
        FunnelError,
        match=r"s3://logs/nothing/manifest.json: cannot be read .*pyarrow.fs.*requirements-tfio.txt",
    ):
        Data("s3://logs/nothing", load(config).spec)


def test_the_command_trains_and_exports(tmp_path, config):
    assert main(["train", str(config)]) == 0
    assert main(["export", str(config)]) == 0
    assert not list((tmp_path / "cache").rglob("*.tfrecord"))
    assert [
        json.loads(line)["step"]
        for line in (tmp_path / "run/model/metrics.jsonl").read_text().splitlines()
    ] == [3, 6]
    (version,) = (tmp_path / "run/export").iterdir()
    assert "serving_default" in tf.saved_model.load(str(version)).signatures


def weights(run):
    reader = tf.train.load_checkpoint(str(run / "model/checkpoints"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("state/")
    }


def test_a_cut_training_ends_with_the_same_weights(tmp_path, config):
    assert main(["train", str(config)]) == 0
    whole = weights(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    for steps in (3, 6):
        assert main(["train", str(config), "--set", f"train.steps={steps}"]) == 0
    cut = weights(tmp_path / "run")
    assert len(whole) > 10
    assert all((cut[name] == value).all() for name, value in whole.items())
