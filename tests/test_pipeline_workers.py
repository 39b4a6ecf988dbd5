"""Worker processes that are killed, interrupted, or fail: one line, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.workers.driver import died, memory_held

PROCESSES = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
TOML = """
run = "run"
[logs]
table = { files = "*.jsonl*", id = "id", time = "ts" }
[labels]
like = { column = "like", equals = "1" }
[features]
user = { kind = "categorical", buckets = 100 }
[split]
eval = { fraction = 0.5 }
[tasks]
likes = { label = "like" }
[output]
shards = 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: a log, its configuration, and tmp/ as TMPDIR."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    rows = (
        {"id": f"i{n}", "ts": 1_790_000_000 + n, "user": f"u{n % 97}", "like": n * 7 % 3 % 2}
        for n in range(150_000)
    )
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


def started(*arguments):
    """The command in a process group of its own, which Ctrl-C reaches as a whole."""
    command = [sys.executable, "-m", "funnel", "preprocess", "my.toml", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def workers_of(process):
    """The worker processes, once they work."""
    while process.poll() is None:
        found = _children(process.pid)
        if len(found) == 2 and all(memory_held(pid) > 100 * 2**20 for pid in found):
            return found
        time.sleep(0.1)
    raise AssertionError(process.communicate())


def _children(parent):
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def is_there(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def left(folder):
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    return names - {"log.jsonl", "bad.jsonl.gz", "my.toml", "tmp", "run", "run/.stages.json"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to", "code", "line"),
    [
        (signal.SIGKILL, "worker", 1, "error: worker {} (process {}) was ended by SIGKILL"),
        (signal.SIGINT, "all", 130, "error: interrupted; the same command"),
        (signal.SIGTERM, "driver", 143, "error: ended by SIGTERM; the same command"),
    ],
)
def test_a_signal_ends_the_job_in_one_line(folder, number, to, code, line):
    process = started(*PROCESSES)
    pids = workers_of(process)
    if to == "all":
        os.killpg(process.pid, number)
    else:
        os.kill(pids[0] if to == "worker" else process.pid, number)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err.count("\n")) == (code, 1), err
    assert err.startswith(line.partition(" {}")[0])
    if to == "worker":
        assert f"(process {pids[0]}) was ended by SIGKILL" in err
        assert "--direct_num_workers" in err
    assert not any(map(is_there, pids))
    assert not left(folder)


@pytest.mark.slow
def test_workers_end_with_a_killed_driver_and_the_next_job_removes_its_files(folder):
    process = started(*PROCESSES)
    pids = workers_of(process)
    process.kill()
    process.communicate()
    until = time.monotonic() + 30
    while any(map(is_there, pids)):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert any(name.endswith(".unfinished") for name in left(folder))
    done = started()
    _, err = done.communicate(timeout=300)
    assert (done.returncode, err) == (0, "")
    assert not any("unfinished" in name or name.startswith("tmp/") for name in left(folder))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], PROCESSES])
def test_an_error_of_a_worker_arrives_bare(folder, arguments):
    (folder / "bad.jsonl.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0\xff")
    done = started(*arguments)
    _, err = done.communicate(timeout=300)
    assert (done.returncode, err.count("\n")) == (2, 1), err
    assert err.startswith("error: bad.jsonl.gz: cannot be read as jsonl, gzip (")
    assert "while running" not in err
    assert not left(folder)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (-9, "worker 2 (process 7) was ended by SIGKILL, as the system does where memory runs out"),
        (-11, "worker 2 (process 7) was ended by SIGSEGV"),
        (-200, "worker 2 (process 7) was ended by signal 200"),
        (3, "worker 2 (process 7) ended with exit code 3"),
    ],
)
def test_how_a_worker_died(code, line):
    assert str(died(2, 7, code, 5 * 2**20, 9 * 2**30)) == (
        f"{line}; it held up to 5 of the machine's 9,216 MiB. Give fewer workers "
        "(--direct_num_workers), or smaller partitions (more output.shards)"
    )


def test_the_memory_of_a_process():
    assert memory_held(os.getpid()) > 2**20
    assert memory_held(2**22 + 1) == 0
