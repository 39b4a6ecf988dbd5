"""train.verify: files of a preprocessed directory are compared with the manifest's checksums."""

import hashlib
import json

import model_data
import pytest
import tomli_w
from model_data import FEATURES, LABELS, TASKS, batches, make_spec, upload

from features.errors import FunnelError
from features.manifest import checksum
from funnel.cli.main import main
from funnel.dataset import Dataset
from model.data.checksums import Verifier
from model.data.input import Data

SPEC = make_spec()
URI = "s3://logs/ads/data"


def write_data(folder):
    """A preprocessed directory whose manifest has the checksums of the small files, too."""
    data = model_data.write_data(folder)
    manifest = json.loads((data / "manifest.json").read_text())
    names = ("fitted.json", "spec.json", "sample.parquet")
    manifest["files"] = {name: checksum(data / name) for name in names}
    (data / "manifest.json").write_text(json.dumps(manifest))
    return data


def damage(path):
    """Changes one bit and returns (the sha256 as it was, the one now)."""
    content = path.read_bytes()
    path.write_bytes(damaged := content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    return hashlib.sha256(content).hexdigest(), hashlib.sha256(damaged).hexdigest()


def shard_of(data, split):
    return data.directory / data.manifest["shards"][split][1]["file"]


def test_a_damaged_shard_is_refused_before_a_row_of_its_split_is_read(tmp_path):
    data = Data(write_data(tmp_path), SPEC, verify=True)
    shard = shard_of(data, "eval")
    was, now = damage(shard)
    next(iter(batches(data, 16)))  # of training
    message = (
        f"{shard}: its sha256 is {now}, its manifest says {was}; run `funnel preprocess` again, "
        "or copy it whole"
    )
    with pytest.raises(FunnelError) as raised:
        batches(data, 16, split="eval")
    assert str(raised.value) == message
    batches(Data(data.directory, SPEC), 16, split="eval")  # not verified: a reader may not care


def test_files_are_verified_once(tmp_path):
    data = Data(write_data(tmp_path), SPEC, verify=True)
    batches(data, 16, split="eval")
    damage(shard_of(data, "eval"))
    batches(data, 16, split="eval")
    with pytest.raises(FunnelError, match="its sha256 is"):
        batches(Data(data.directory, SPEC, verify=True), 16, split="eval")


@pytest.mark.parametrize("name", ["fitted.json", "spec.json", "sample.parquet"])
def test_a_file_beside_the_shards(tmp_path, name):
    folder = write_data(tmp_path)
    Data(folder, SPEC, verify=True)
    was, now = damage(folder / name)
    with pytest.raises(FunnelError, match=f"/{name}: its sha256 is {now}, its manifest says {was}"):
        Data(folder, SPEC, verify=True)
    (folder / name).unlink()
    with pytest.raises(FunnelError, match=f"/{name}: cannot be read .No such file or directory.; "):
        Data(folder, SPEC, verify=True)


def test_copies_of_remote_shards(tmp_path, server, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("FUNNEL_CACHE", str(tmp_path / "cache"))
    folder = write_data(tmp_path)
    upload(bucket, folder, "ads/data")
    data = Data(URI, SPEC)
    batches(data, 16, split="eval")
    shard = shard_of(data, "eval")
    was, now = damage(shard)
    expected = f"{shard}: its sha256 is {now}, its manifest says {was}; remove this copy, "
    with pytest.raises(FunnelError, match=expected):
        batches(Data(URI, SPEC, verify=True), 16, split="eval")
    shard.unlink()
    batches(Data(URI, SPEC, verify=True), 16, split="eval")
    damage(folder / "fitted.json")
    bucket("ads/data/fitted.json", (folder / "fitted.json").read_bytes())
    with pytest.raises(FunnelError, match=rf"fitted.json: its sha256 .*; upload it to {URI} again"):
        Data(URI, SPEC, verify=True)


def test_shards_that_are_read_in_place(tmp_path):
    folder = write_data(tmp_path)

    class InPlace:
        in_place, uri = True, URI

        def open_file(self, file):
            return (folder / file).open("rb")

    manifest = Data(folder, SPEC).manifest
    shard = manifest["shards"]["train"][0]["file"]
    Verifier(tmp_path / "copies", manifest, InPlace()).verify([shard])
    was, now = damage(folder / shard)
    with pytest.raises(FunnelError) as raised:
        Verifier(tmp_path / "copies", manifest, InPlace()).verify([shard])
    assert str(raised.value) == (
        f"{URI}/{shard}: its sha256 is {now}, its manifest says {was}; upload it to {URI} again"
    )


def test_the_option_and_the_argument(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shard = shard_of(Data(write_data(tmp_path / "run"), SPEC), "train")
    damage(shard)
    sections = {"run": "run", "features": FEATURES, "labels": LABELS, "tasks": TASKS}
    (tmp_path / "my.toml").write_text(tomli_w.dumps(sections | {"train": {"verify": True}}))
    assert main(["train", "my.toml"]) == 2
    assert f"error: run/data/train/{shard.name}: its sha256 is " in capsys.readouterr().err
    with pytest.raises(FunnelError, match="its sha256 is"):
        Dataset("run/data", verify=True).batches("train")
    Dataset("run/data").batches("train")
