"""features.locks: one owner at a time, with flock and without; a process that ends owns nothing."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from features import locks
from features.errors import FunnelError
from features.locks import Owner, locked

HOST, SINCE = socket.gethostname(), "2026-11-27 20:00:00 UTC"
HOLDS = """
import sys, time
from pathlib import Path
from features import locks
if sys.argv[2] == "without":
    def refuse(*arguments):
        raise OSError(37, "No locks available")
    locks.fcntl.flock = refuse
with locks.locked(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["with", "without"])
def flock(request, monkeypatch):
    """Whether the file system has flock."""

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "without":
        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / ".lock-train"


def holder(path, flock):
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLDS, str(path), flock]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout.readline() == "held\n"
    return process


def take(path, **options):
    with locked(path, "train", **options):
        return "taken"


def test_a_lock_is_held_once_and_leaves_nothing(path, flock):
    with locked(path, "train"):
        with pytest.raises(FunnelError) as refused:
            take(path, wait=False)
        assert re.fullmatch(
            rf"{path.parent}: another train is running there: process {os.getpid()} on {HOST}, "
            rf"since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC( \(remove {path}.owner if it has ended\)"
            r")?; run it again once that one has ended, or without --no-wait \(wait = False\), "
            "which waits",
            str(refused.value),
        )
    assert not path.parent.exists()  # it was made for the lock


def test_other_kinds_of_work_do_not_wait(path, flock):
    with locked(path, "train"):
        assert take(path.with_name(".lock-report"), wait=False) == "taken"


def test_a_waiting_job_names_the_owner_and_takes_over(path, flock):
    lines = []
    with ThreadPoolExecutor(1) as pool:
        with locked(path, "train"):
            waiting = pool.submit(take, path, on_wait=lines.append)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        assert waiting.result(timeout=5) == "taken"
    (line,) = lines
    assert f"this train waits for another train: process {os.getpid()} on {HOST}, since " in line


def test_many_take_turns(path, flock, monkeypatch):
    monkeypatch.setattr(locks, "POLL", 0.001)
    inside, most = [], []

    def work(number):
        with locked(path, "train"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == [1] * 200


def test_a_process_that_is_killed_holds_nothing(path, flock):
    process = holder(path, flock)
    with pytest.raises(FunnelError, match=f"process {process.pid} on {HOST}, since "):
        take(path, wait=False)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert take(path, wait=False) == "taken"
    assert list(path.parent.iterdir()) == []


OWN = Owner(HOST, os.getpid(), SINCE, locks.PROCESS)


@pytest.mark.parametrize(
    ("owner", "ended"),
    [
        (OWN, False),
        (replace(OWN, process="of the container before"), True),
        (replace(OWN, host="another"), False),
        (replace(OWN, pid=1), False),  # another user's, perhaps
        (replace(OWN, pid=2**22 + 1), True),  # above the greatest of Linux
    ],
)
def test_which_owner_has_ended(owner, ended):
    assert owner.has_ended is ended


def test_an_owner_of_another_host_is_named_with_the_remedy(path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    path.parent.mkdir()
    mark = path.with_name(".lock-train.owner")
    for content, named in [
        (json.dumps(vars(replace(OWN, host="n7", pid=12))), f"process 12 on n7, since {SINCE}"),
        ("", "a process"),  # killed before it wrote
    ]:
        mark.write_text(content)
        with pytest.raises(
            FunnelError, match=re.escape(f"there: {named} (remove {mark} if it has ended); run it")
        ):
            take(path, wait=False)


def test_a_faster_process_keeps_the_lock_of_an_ended_one(path):
    path.parent.mkdir()
    mark = path.with_name(".lock-train.owner")
    mark.write_text(json.dumps(vars(OWN)))
    locks._remove(mark, replace(OWN, pid=2**22 + 1))
    assert [p.name for p in path.parent.iterdir()] == [".lock-train.owner"]
    locks._remove(mark, OWN)
    assert list(path.parent.iterdir()) == []


def test_errors_of_the_disk_are_not_taken_for_a_lock(path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(FunnelError, match=r"/\.lock-train: Input/output error; check the disk"):
        take(path)


def test_a_file_in_the_directorys_place_is_refused(path):
    path.parent.write_text("")
    with pytest.raises(FunnelError, match=r"run: cannot be a directory, since .* is a file; give"):
        take(path)
