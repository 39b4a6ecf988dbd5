"""Checkpoints, their list, iterator states and model.json, broken one by one: what is whole is
found, and nothing good is deleted.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from model_data import make_estimator, make_model, write_data
from test_model_interruptions import assert_same, state

from features import files
from features.errors import FunnelError
from model.estimator.checkpoints import Checkpoints
from model.estimator.estimator import RankingEstimator


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    make_estimator(folder, model=make_model("shared_bottom"), steps=6, checkpoint_every=2).train()
    shutil.copytree(folder / "model", folder / "kept")
    return folder


@pytest.fixture
def trained(once):
    """A training at step 6 with checkpoints of steps 2, 4 and 6, as it was before other tests broke
    it.
    """
    shutil.rmtree(once / "model")
    shutil.copytree(once / "kept", once / "model")
    return once


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda c: flip(c / "ckpt-6.data-00000-of-00001"),
        lambda c: os.truncate(c / "ckpt-6.data-00000-of-00001", 100),
        lambda c: os.truncate(c / "ckpt-6.data-00000-of-00001", 0),
        lambda c: (c / "ckpt-6.data-00000-of-00001").unlink(),
        lambda c: flip(c / "ckpt-6.index"),
        lambda c: (c / "ckpt-6.index").unlink(),
        *(
            lambda c, end=end, break_it=break_it: break_it(c / f"ckpt-6.iterator-00000.{end}")
            for end in ("data-00000-of-00001", "index")
            for break_it in (Path.unlink, flip, lambda path: os.truncate(path, 10))
        ),
    ],
)
def test_a_broken_checkpoint_is_skipped_for_the_one_before(trained, break_it):
    checkpoints, said = trained / "model/checkpoints", []
    whole = state(trained)
    break_it(checkpoints)
    again = make_estimator(trained, model=make_model("shared_bottom"), steps=6, warn=said.append)
    assert (
        RankingEstimator.train(again, again.train_input, steps=0).step == 4
    )  # where the log of metrics is cut
    assert again.train().step == again.latest_step() == 6
    assert len(said) == 1
    assert "ckpt-6 cannot be read" in said[0]
    assert "taking the one before" in said[0]
    assert_same(whole, state(trained))  # from step 4 on, the same again


@pytest.mark.parametrize(
    "break_it",
    [
        Path.unlink,
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text("model_check"),
        lambda p: p.write_text(""),
    ],
)
def test_without_their_list_checkpoints_are_found_all_the_same(trained, break_it):
    break_it(trained / "model/checkpoints/checkpoint")
    said = []
    again = make_estimator(trained, model=make_model("shared_bottom"), steps=8, warn=said.append)
    assert again.latest_step() == 6
    assert again.evaluate()["ctr"]["rows"] > 0
    with pytest.raises(FunnelError, match="belong to another model"):
        make_estimator(trained, model=make_model("ple"))
    assert again.train().step == 8
    names = {p.name.split(".")[0] for p in (trained / "model/checkpoints").iterdir()}
    assert names == {"checkpoint", "ckpt-4", "ckpt-6", "ckpt-8"}
    assert said == []


def test_newer_checkpoints_than_the_saved_one_stay(trained):
    # The newest cannot be read now, as on a network's file system that is away: training goes on
    # from the one before.
    checkpoints = trained / "model/checkpoints"
    iterator = checkpoints / "ckpt-6.iterator-00000.data-00000-of-00001"
    kept = iterator.read_bytes()
    flip(iterator)
    settings = {"model": make_model("shared_bottom"), "warn": lambda line: None}
    assert make_estimator(trained, steps=5, **settings).train().step == 5
    assert {p.name.split(".")[0] for p in checkpoints.iterdir()} == {
        "checkpoint",
        "ckpt-4",
        "ckpt-5",
        "ckpt-6",
    }
    iterator.write_bytes(kept)
    assert make_estimator(trained, **settings).latest_step() == 6


def test_any_error_of_the_writing_thread_is_raised(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"a": tf.Variable(1.0)}, keep=2, background=True)

    def fail(*args, **options):
        raise RuntimeError("no such luck")

    checkpoints._write = fail
    checkpoints.save(1, iter(tf.data.Dataset.range(3)))
    with pytest.raises(RuntimeError, match="no such luck"):
        checkpoints.close()
    checkpoints.close()  # raised once


def test_a_truncated_model_json_is_refused_with_a_remedy(trained):
    path = trained / "model/model.json"
    os.truncate(path, 100)
    with pytest.raises(
        FunnelError,
        match=(
            r"model\.json: is not JSON \(.*\); put back a copy of it, or train from scratch with "
            r"--force"
        ),
    ):
        make_estimator(trained, model=make_model("shared_bottom"))


def test_model_json_is_written_beside_and_only_where_it_changes(trained, monkeypatch):
    path, run = (
        trained / "model/model.json",
        make_estimator(trained, model=make_model("shared_bottom"), steps=7),
    )
    before = path.stat()
    run.train()
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns

    def fail(*args):
        raise OSError("full")

    kept = path.read_text()
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        run.model_json.write({"mode": {"precision": "another", "xla": True}}, None)
    assert path.read_text() == kept


def test_scoring_skips_a_broken_checkpoint_too(trained):
    said = []
    flip(trained / "model/checkpoints/ckpt-6.data-00000-of-00001")
    make_estimator(trained, model=make_model("shared_bottom"), warn=said.append).load()
    assert "ckpt-6 cannot be read" in said[0]


def test_where_none_can_be_read_it_says_so(trained):
    for path in (trained / "model/checkpoints").glob("*.index"):
        path.unlink()
    with pytest.raises(
        FunnelError,
        match=r"none of its 3 checkpoints can be read .*; train from scratch with --force",
    ):
        make_estimator(trained, model=make_model("shared_bottom"), warn=lambda line: None).train()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from features import files
from features.errors import FunnelError
from model_data import make_estimator, make_model

def fill(report):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # of a file: writing fails halfway

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    options = {"steps": 9, "log_every": 7, "checkpoint_every": 2}
    make_estimator(Path(sys.argv[1]), model=make_model("shared_bottom"), **options).train(fill)
except FunnelError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_checkpoint(trained):
    path = os.pathsep.join(p for p in sys.path if p)
    env = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(trained)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "checkpoints: the checkpoint of step 8 cannot be written (" in done.stdout, done.stderr[
        -2000:
    ]
    assert "the last complete one is ckpt-6: free space, run again" in done.stdout
    names = {p.name.split(".")[0] for p in (trained / "model/checkpoints").iterdir()}
    assert names == {"checkpoint", "ckpt-2", "ckpt-4", "ckpt-6"}  # nothing half-written
    assert make_estimator(trained, model=make_model("shared_bottom"), steps=9).train().step == 9


@pytest.mark.parametrize("left", [0, 20, -1])  # bytes of its index
def test_a_first_save_that_was_killed_is_none(trained, left):
    checkpoints, whole, said = trained / "model/checkpoints", state(trained), []
    for path in checkpoints.iterdir():
        if not path.name.startswith("ckpt-2."):
            path.unlink()
    index = checkpoints / "ckpt-2.index"
    os.truncate(index, left % index.stat().st_size)
    again = make_estimator(
        trained, model=make_model("shared_bottom"), steps=6, checkpoint_every=3, warn=said.append
    )
    assert again.latest_step() == 0
    assert again.train().step == 6
    assert said == []
    assert_same(whole, state(trained))
    assert {p.name.split(".")[0] for p in checkpoints.iterdir()} == {
        "checkpoint",
        "ckpt-3",
        "ckpt-6",
    }


def test_what_a_save_that_was_killed_left_goes(trained):
    checkpoints = trained / "model/checkpoints"
    for step in (5, 7, 9):
        (checkpoints / f"ckpt-{step}_temp").mkdir()
        (checkpoints / f"ckpt-{step}_temp/part-00000-of-00001.index").write_text("cut o")
    make_estimator(trained, model=make_model("shared_bottom"), steps=7).train()
    assert {p.name.split(".")[0] for p in checkpoints.iterdir()} == {
        "checkpoint",
        "ckpt-4",
        "ckpt-6",
        "ckpt-7",
        "ckpt-9_temp",
    }


def test_old_checkpoints_and_their_iterator_states_go(trained):
    make_estimator(
        trained, model=make_model("shared_bottom"), steps=12, checkpoint_every=2, keep_checkpoints=2
    ).train()
    names = sorted(p.name for p in (trained / "model/checkpoints").iterdir())
    kept = [
        f"ckpt-{step}.{part}"
        for step in (10, 12)
        for part in (
            "data-00000-of-00001",
            "index",
            "iterator-00000.data-00000-of-00001",
            "iterator-00000.index",
        )
    ]
    assert names == ["checkpoint", *kept]


def test_a_saved_checkpoint_is_on_the_disk(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def sync(descriptor):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", sync)
    checkpoints = Checkpoints(tmp_path / "c", {"x": tf.Variable(1.0)}, keep=1)
    checkpoints.save(3, iter(tf.data.Dataset.range(3)))
    written = {path.name for path in (tmp_path / "c").iterdir()} - {"checkpoint"}
    assert set(synced) == written | {".checkpoint.unfinished", "c"}  # the list before it is renamed
    assert len(synced) == 7  # the data and the index of both, the list, the directory for each
    assert [synced[4], *synced[6:]] == ["c", "c"]
