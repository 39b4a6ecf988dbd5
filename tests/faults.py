"""Makes every system call of a command fail, one after the other, and checks what each leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from system_calls import Call, Outcome, Process

Tree = dict[str, str]  # the digest of every file by its path; of a directory ""
UNEQUAL = ("seconds", "rows_per_second", "waiting")  # in JSON, between two equal runs
LEFT = re.compile(r"(^|/)\.[^/]+\.(unfinished|old)(/|$)|(^|/)\.lock-[^/]*$")
CLEANING = ("unlink", "rmdir")


def tree(folder: Path) -> Tree:
    """What a directory holds, with the same digest for files that equal runs write."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): "" if path.is_dir() else digest(path) for path in found}


def digest(path: Path) -> str:
    if ".iterator-" in path.name:  # TensorFlow writes an equal state in other bytes at times
        return ""
    data = path.read_bytes()
    if path.name == "checkpoint":
        data = b"".join(line for line in data.splitlines() if b"timestamp" not in line)
    if path.suffix in (".json", ".jsonl"):
        lines = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
        with suppress(ValueError):  # half written
            data = json.dumps([_equal(json.loads(line)) for line in lines]).encode()
    return hashlib.sha256(data).hexdigest()


def _equal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _equal(one) for key, one in value.items() if key not in UNEQUAL}
    return value


def published(path: str) -> str:
    """The name that the first part of a path has, or will have without `unfinished`."""
    return path.split("/")[0].lstrip(".").split(".")[0]


class Faults:
    """The faults of one command.

    Args:
        process: runs the command in `process.root`.
        arguments: of a request.
        before: a directory with what `process.root` holds before the command.
        whole: raises AssertionError where a tree is neither what the command found nor what it
            makes, called with (before, now, after).
        named: what errors name; by default the first part of the call's path.
    """

    def __init__(
        self,
        process: Process,
        arguments: list[str],
        before: Path,
        whole: Callable[[Tree, Tree, Tree], None],
        named: str = "",
    ) -> None:
        self.named = named
        self.process, self.arguments, self.before, self.whole = process, arguments, before, whole
        self.root = Path(process.root)
        self.found = tree(before)
        self.reset()
        undisturbed = process.ask(*arguments)
        assert undisturbed.code == 0, undisturbed.err
        self.calls, self.after = undisturbed.calls, tree(self.root)
        assert not [path for path in self.after if LEFT.search(path)]
        self.rerun: dict[str, str] = {}  # what was wrong, by the state that it began with
        self.wrong: list[str] = []

    def reset(self, to: Path | None = None) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        if (to or self.before).exists():
            shutil.copytree(to or self.before, self.root, symlinks=True)

    def every_call_fails(self, by: int, among: range | None = None) -> int:
        """Lets each call fail that can fail so, or kills the process before it (0). Returns how
        many there were; raises AssertionError with all that was wrong.

        Args:
            by: the errno, or 0.
            among: the numbers of the calls; by default all.
        """
        self.wrong.clear()
        numbers = [
            n
            for n in among or range(1, len(self.calls) + 1)
            if not by or by in self.calls[n - 1].errors
        ]
        for number in numbers:
            self.reset()
            outcome = self.process.ask(*self.arguments, fail=number, by=by)
            problem = self._problem(outcome, by) if outcome.failed else "came no more"
            if problem:
                self.wrong.append(f"{number} {self.calls[number - 1]} by {by}: {problem}")
        assert not self.wrong, "\n".join([f"{len(self.wrong)} of {len(numbers)}:", *self.wrong])
        return len(numbers)

    def every_state(self, folder: Path) -> int:
        """Does the command again from each state of the files that a process leaves which is killed
        before one of its calls. As `every_call_fails(0)`, for a process that lives on. Returns how
        many states there were.

        Args:
            folder: receives the states.
        """
        self.wrong.clear()
        states: dict[str, tuple[int, Call]] = {}

        def keep(number: int, call: Call) -> None:
            key = json.dumps(tree(self.root))
            if key not in states:
                states[key] = (number, call)
                if self.root.exists():
                    shutil.copytree(self.root, folder / str(number), symlinks=True)

        self.reset()
        assert self.process.ask(*self.arguments, on_call=keep).code == 0
        for number, call in states.values():
            self.reset(folder / str(number))
            now = tree(self.root)
            with self._noting(f"killed before {number} {call}"):
                self.whole(self.found, now, self.after)
            problem = self._rerun(now)
            if problem:
                self.wrong.append(f"killed before {number} {call}: {problem}")
        assert not self.wrong, "\n".join([f"{len(self.wrong)} of {len(states)}:", *self.wrong])
        return len(states)

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            self.wrong.append(f"{where}: half: {error}")

    def _problem(self, outcome: Outcome, by: int) -> str:
        now = tree(self.root)
        try:
            self.whole(self.found, now, self.after)
        except AssertionError as error:
            return f"half: {error}"
        if by:
            problem = self._message(outcome, by) or self._left(outcome.failed, now)
        else:
            problem = "" if outcome.code == -9 else f"ended with {outcome.code}"
        return problem or self._rerun(now)

    def _message(self, outcome: Outcome, by: int) -> str:
        if outcome.code == 0:
            return outcome.err
        # On a full disk a call is reported that failed later.
        full = by == errno.ENOSPC
        named = self.named or ("run/" if full else published(outcome.failed.path))
        lines = outcome.err.splitlines()
        if outcome.code not in (1, 2) or len(lines) != 1 or not lines[0].startswith("error: "):
            return f"code {outcome.code}: {outcome.err[-1500:]!r}"
        if os.strerror(by) not in lines[0] or named not in lines[0] or "Errno" in lines[0]:
            return f"message: {lines[0]}"
        return ""

    def _left(self, failed: Call | None, now: Tree) -> str:
        # What waits as .old for its replacement is put back, or removed, by the next job.
        left = [path for path in now if LEFT.search(path) and ".old" not in path.split("/")[0]]
        cleaning = failed.name in CLEANING or (failed.name == "open" and not failed.writing)
        return f"left: {left}" if left and not cleaning else ""

    def _rerun(self, now: Tree) -> str:
        """What is wrong after the same command again, from the state that is there."""
        key = json.dumps(now)
        if key not in self.rerun:
            outcome = self.process.ask(*self.arguments)
            again = tree(self.root)
            changed = {
                path
                for path in again.keys() | self.after.keys()
                if again.get(path) != self.after.get(path)
            }
            self.rerun[key] = (
                f"rerun: code {outcome.code} {outcome.err} {sorted(changed)}"
                if outcome.code or outcome.err or changed
                else ""
            )
        return self.rerun[key]


def unsafe(calls: list[Call]) -> list[str]:
    """What a power cut could lose of the files that were renamed: written and not flushed before,
    or in a directory that was not flushed afterwards.
    """
    written: dict[str, bool] = {}  # files and directories: whether they were flushed since
    renamed: dict[str, str] = {}  # a directory that is not flushed since, and the new name in it
    wrong = []
    for call in calls:
        if call.name == "fsync":
            written[call.path] = True
            renamed.pop(call.path, None)
        elif call.name == "rename":
            below = {p for p in written if (p + "/").startswith(call.path + "/")}
            wrong += [f"{p} → {call.to}" for p in sorted(below) if not written[p]]
            for path in below:
                written[call.to + path[len(call.path) :]] = written.pop(path)
            if not LEFT.search(call.to):
                renamed[os.path.dirname(call.to) or "."] = call.to
            written[os.path.dirname(call.to)] = False
        elif call.name in CLEANING:
            written.pop(call.path, None)
        elif call.writing and call.name in ("open", "write", "truncate", "mkdir"):
            written[call.path] = False
            if call.name != "write":
                written[os.path.dirname(call.path)] = False
    return wrong + [f"{folder}: not flushed after {name}" for folder, name in renamed.items()]
