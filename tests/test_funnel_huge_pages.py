"""The command re-executes itself where huge pages are given on request, and nowhere else."""

import os
import subprocess
import sys

import pytest

from funnel.cli import huge_pages
from funnel.cli import main as cli

REQUEST, ALWAYS = "always [madvise] never\n", "[always] madvise never\n"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """(kernel setting, tunables, C library) → (the commands that were started, the tunables
    then).
    """

    def reexec(enabled, tunables, libc="glibc"):
        calls = []
        monkeypatch.setattr(huge_pages, "ENABLED", tmp_path / "enabled")
        if enabled:
            huge_pages.ENABLED.write_text(enabled)
        monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: (libc, ""))
        monkeypatch.setattr(huge_pages.os, "execv", lambda *call: calls.append(call))
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "funnel", "train", "my file.toml"])
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
        huge_pages.reexec_with_huge_pages()
        return calls, os.environ["GLIBC_TUNABLES"]

    return reexec


def test_the_same_command_is_started_with_the_tunable_added(started):
    calls, tunables = started(REQUEST, "glibc.malloc.arena_max=2")
    assert calls == [(sys.executable, [sys.executable, "-m", "funnel", "train", "my file.toml"])]
    assert tunables == "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("enabled", "tunables", "libc"),
    [
        (REQUEST, "glibc.malloc.hugetlb=0", "glibc"),
        (ALWAYS, "", "glibc"),
        ("", "", "glibc"),
        (REQUEST, "", "musl"),
    ],
    ids=["already set", "given to all", "another kernel", "another C library"],
)
def test_nothing_is_started_where_that_is_of_no_use(started, enabled, tunables, libc):
    assert started(enabled, tunables, libc) == ([], tunables)


def test_the_command_answers_as_before(tmp_path):
    for start in (["-m", "funnel"], ["-c", "from funnel.cli.main import program; program()"]):
        done = subprocess.run(
            [sys.executable, *start, "train", "a b.toml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "· reading a b.toml\n")
        assert "a b.toml" in done.stderr


@pytest.mark.parametrize("command", ["train", "run", "evaluate", "predict"])
def test_only_commands_that_train_ask_for_huge_pages(monkeypatch, command):
    calls = []
    monkeypatch.setattr(huge_pages, "reexec_with_huge_pages", lambda: calls.append(command))
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["funnel", command, "my.toml"])
    with pytest.raises(SystemExit):
        cli.program()
    assert calls == ([command] if command in ("train", "run") else [])
