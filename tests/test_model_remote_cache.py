"""Preprocessed data on s3://: staged into a bounded cache, checked against its manifest, and
trained on like local data.
"""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from model_data import (
    batches,
    make_estimator,
    make_model,
    make_spec,
    make_train,
    upload,
    write_data,
)

from features.errors import FunnelError
from model.data import remote_cache
from model.data.input import Data
from model.data.remote_cache import GIB, RemoteDirectory, is_remote
from model.estimator.estimator import RankingEstimator
from model.estimator.ranking_config import RankingConfig

SPEC = make_spec()
URI = "s3://logs/ads/data"


@pytest.fixture
def remote(tmp_path, server, bucket, monkeypatch):
    """A preprocessed directory at URI; returns how files are put beside it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("FUNNEL_CACHE", str(tmp_path / "cache"))
    upload(bucket, write_data(tmp_path), "ads/data")
    return bucket


def ids(data, split="eval"):
    return [b["id"].numpy().tolist() for b in batches(data, 16, split=split).take(4)]


@pytest.mark.parametrize(
    ("uri", "remote"),
    [
        ("s3://b/k", True),
        ("hdfs://host:1/k", True),
        ("/tmp/data", False),
        ("runs/a:/b", False),
        ("C://x", True),
    ],
)
def test_what_is_elsewhere(uri, remote):
    assert is_remote(uri) == remote


def test_staged_data_is_the_local_data(tmp_path, remote):
    staged, local = Data(URI, SPEC), Data(tmp_path / "data", SPEC)
    assert (staged.manifest, staged.fitted) == (local.manifest, local.fitted)
    assert ids(staged) == ids(local)
    assert ids(staged, "train") == ids(local, "train")
    assert staged.sample.read_bytes() == local.sample.read_bytes()


def test_training_on_it_gives_the_same_weights(tmp_path, remote):
    write_data(tmp_path / "local")
    plain = make_estimator(tmp_path / "local")
    plain.train()
    data, train = Data(URI, SPEC), make_train()
    estimator = RankingEstimator(RankingConfig.of(data, make_model(), train), tmp_path / "model")
    estimator.train(
        data.train_input(batch_size=16, shuffle_buffer=50, seed=train.seed), max_steps=4
    )
    found = estimator.load().state
    assert all(
        (found[name].numpy() == kept.numpy()).all() for name, kept in plain.load().state.items()
    )


def test_only_the_split_that_is_read_is_copied_and_only_once(remote):
    data = Data(URI, SPEC)
    ids(data)
    shards = sorted(data.directory.rglob("*.tfrecord"))
    assert [path.parent.name for path in shards] == ["eval", "eval"]
    before = [path.stat().st_mtime_ns for path in shards]
    ids(Data(URI, SPEC))
    assert [path.stat().st_mtime_ns for path in shards] == before


def test_new_content_under_the_same_name_is_copied_again(tmp_path, remote):
    ids(Data(URI, SPEC))
    upload(remote, write_data(tmp_path / "later", labels={"click": 1}), "ads/data")
    found = next(iter(batches(Data(URI, SPEC), 20, split="eval")))
    assert set(found["click"].numpy()) == {1}


def test_a_shard_unlike_its_manifest_is_refused_and_not_kept(remote):
    shard = Data(URI, SPEC).manifest["shards"]["eval"][1]["file"]
    remote(f"ads/data/{shard}", b"damaged")
    data = Data(URI, SPEC)
    with pytest.raises(
        FunnelError,
        match=rf"{URI}/{shard}: its sha256 is [0-9a-f]{{64}}, its manifest says .*; "
        "upload it again",
    ):
        ids(data)
    assert not (data.directory / shard).exists()
    assert not list(data.directory.rglob(".part*"))


def shard_bytes(data):
    return sum(s["bytes"] for s in data.manifest["shards"]["eval"])


def test_the_directory_used_longest_ago_makes_room(tmp_path, remote):
    for name in ("one", "two"):
        upload(remote, tmp_path / "data", name)
    opened = {name: Data(f"s3://logs/{name}", SPEC) for name in ("one", "two")}
    for data in opened.values():
        ids(data)
    folders = {name: data.directory for name, data in opened.items()}
    del opened, data  # no process uses them any longer
    new = RemoteDirectory(URI, 1)
    shards = json.loads((new.directory / "manifest.json").read_text())["shards"]["train"]
    held = sum(path.stat().st_size for path in new.directory.parent.rglob("*") if path.is_file())
    new.cache_gib = (held + sum(shard["bytes"] for shard in shards) - 1) / GIB  # a byte too few
    new.stage(shards)
    assert [folder.exists() for folder in folders.values()] == [False, True]


def test_what_the_manifest_no_longer_names_makes_room(tmp_path, remote):
    ids(Data(URI, SPEC))
    later = write_data(tmp_path / "later", shards=3)
    upload(remote, later, "ads/data")
    folder = RemoteDirectory(URI, 1).directory
    (folder / "eval/.part-00002-of-00003.tfrecord.999").write_bytes(b"of a process that was killed")
    named = json.loads((later / "manifest.json").read_text())["shards"]["eval"]
    held = sum((folder / name).stat().st_size for name in remote_cache.SMALL) + sum(
        shard["bytes"] for shard in named
    )
    data = Data(URI, SPEC, cache_gib=held / GIB)
    ids(data)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {".lock", *remote_cache.SMALL} | {
        name for n in range(3) for name in (shard_name(n), f"{shard_name(n)}.sha256")
    }


def shard_name(number):
    return f"part-{number:05d}-of-00003.tfrecord"


def test_what_another_process_may_read_stays(tmp_path, remote):
    reader = Data(URI, SPEC)
    ids(reader)
    before = set(reader.directory.rglob("*.tfrecord"))
    upload(remote, write_data(tmp_path / "later", shards=3), "ads/data")
    data = Data(URI, SPEC, cache_gib=sum(path.stat().st_size for path in before) * 1.5 / GIB)
    with pytest.raises(FunnelError, match=r"raise train\.cache_gib"):
        ids(data)
    assert all(path.exists() for path in before)
    with pytest.raises(BlockingIOError):  # and is still held
        remote_cache._lock(reader.directory, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_that_stage_at_once_keep_the_bound_together(tmp_path, remote, monkeypatch):
    upload(remote, tmp_path / "data", "other")
    one, other = (RemoteDirectory(uri, 1) for uri in (URI, "s3://logs/other"))
    shards = json.loads((one.directory / "manifest.json").read_text())["shards"]["train"]
    wanted, held = sum(shard["bytes"] for shard in shards), remote_cache._size(one.directory.parent)
    one.cache_gib = other.cache_gib = (held + 1.5 * wanted) / GIB  # room for one of them
    begun, go, copy = threading.Event(), threading.Event(), one._copy

    def slow(*arguments):
        begun.set()
        go.wait(20)
        copy(*arguments)

    monkeypatch.setattr(one, "_copy", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.stage, shards)
        begun.wait(20)
        second = pool.submit(other.stage, shards)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.5)  # it waits: nothing of the first is there yet
        go.set()
        assert len(first.result()) == len(shards)
        with pytest.raises(FunnelError, match=r"raise train\.cache_gib"):
            second.result()
    assert remote_cache._size(one.directory.parent) <= one.cache_gib * GIB


def test_what_is_in_use_stays_and_the_error_says_what_helps(remote):
    data = Data(URI, SPEC, cache_gib=shard_bytes(Data(URI, SPEC)) / 2 / GIB)
    with pytest.raises(
        FunnelError,
        match=r"raise train.cache_gib, or read in place with tensorflow-io \(requirements-"
        r"tfio.txt\)",
    ):
        ids(data)
    assert data.sample.exists()


def test_a_directory_that_is_removed_while_it_is_opened_is_made_again(tmp_path, monkeypatch):
    folder, locks = tmp_path / "cache" / "data", []

    def removed_at_first(directory, how):
        locks.append(take(directory, how))
        if len(locks) == 1:
            shutil.rmtree(directory)
        return locks[-1]

    take = remote_cache._lock
    monkeypatch.setattr(remote_cache, "_lock", removed_at_first)
    held = remote_cache._hold(folder)
    assert (len(locks), held) == (2, locks[1])
    with pytest.raises(BlockingIOError):
        take(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_full_cache_says_so(tmp_path, remote, monkeypatch):
    remote_directory = RemoteDirectory(URI, 1)

    class Full:
        def read(self, size):
            raise OSError(errno.ENOSPC, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(remote_directory, "open_file", lambda file: Full())
    with pytest.raises(
        FunnelError,
        match=r"no space is left for spec.json: free some, or set FUNNEL_CACHE elsewhere",
    ):
        remote_directory._copy("spec.json")


@pytest.mark.parametrize("uri", ["s3://logs/nothing", "nope://host/path"])
def test_what_cannot_be_read_names_both_ways(remote, uri):
    with pytest.raises(
        FunnelError,
        match=rf"{uri}/manifest.json: cannot be read .*pyarrow.fs.*FUNNEL_CACHE.*tensorflow-io",
    ):
        Data(uri, SPEC)
