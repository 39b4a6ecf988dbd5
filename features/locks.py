"""Locks between processes: one job at a time for each kind of work in a directory.

A lock is a file that its owner has locked with flock, and that the system unlocks when the owner
ends in any way. Where the file system has no flock, the file `<lock>.owner` is the lock: it names
the owner, and is removed once that process has ended on the same host.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from features.errors import FunnelError, naming
from features.files import make_directory

POLL = 0.2  # seconds between two attempts
NO_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
PROCESS = uuid.uuid4().hex  # a restarted container may have the same host name and process id
Release = Callable[[], None]


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock, and since when."""

    host: str
    pid: int
    since: str
    process: str

    @property
    def has_ended(self) -> bool:
        """Whether it is a process of this host that is not there any more."""
        if self.host != socket.gethostname():
            return False
        if self.pid == os.getpid():
            return self.process != PROCESS
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
        return False


@contextmanager
def locked(
    path: Path,
    work: str,
    *,
    wait: bool = True,
    on_wait: Callable[[str], None] = lambda line: None,
) -> Iterator[None]:
    """Holds a lock as long as the block runs.

    Args:
        path: The lock file. Its directory is made if it is absent; the file is removed afterwards.
        work: What the owner does, as messages name it: "preprocess".
        wait: Whether to wait for a lock that another process or thread holds.
        on_wait: Called with a line that names the owner, when the waiting begins and again for
            another owner.

    Raises:
        FunnelError: Another process holds the lock and `wait` is false; or the directory or the
            file cannot be made.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with locked(folder / ".lock-train", "train"):
        ...     sorted(path.name for path in folder.iterdir())
        ['.lock-train']
        >>> list(folder.iterdir())
        []
    """
    made, shown = not path.parent.exists(), ""
    while (release := _take_named(path)) is None:
        holder = _holder(path)
        if not wait:
            raise FunnelError(
                f"{path.parent}: another {work} is running there: {holder}; run it again once that "
                "one has ended, or without --no-wait (wait = False), which waits"
            )
        if holder != shown:
            on_wait(f"{path.parent}: this {work} waits for another {work}: {holder}")
            shown = holder
        time.sleep(POLL)
    try:
        yield
    finally:
        release()
        if made:  # and nothing was written
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _take_named(path: Path) -> Release | None:
    with naming(path):
        return _take(path)


def _take(path: Path) -> Release | None:
    """Locks the file. Returns what unlocks it; None where another one holds it."""
    while True:
        make_directory(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just removed the empty directory
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(path, descriptor):  # not removed by an owner that ended meanwhile
                _sign(descriptor)
                return lambda: _unlock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            if error.errno not in NO_FLOCK:
                raise
            return _take_by_owner(path)
        os.close(descriptor)


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Writes the owner, for the messages of others: the lock holds on a full disk, too."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, _this_process())


def _unlock(path: Path, descriptor: int) -> None:
    """Removes the file before it unlocks it, so that no other process holds it meanwhile. A file
    that stays locks nothing.
    """
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _take_by_owner(path: Path) -> Release | None:
    """As `_take`, by the exclusive creation of a file."""
    path.unlink(missing_ok=True)  # made for flock
    mark = _mark(path)
    while True:
        try:
            descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            owner = _read(mark)
            if owner is None or not owner.has_ended:
                return None
            _remove(mark, owner)
            continue
        except FileNotFoundError:  # another process has just removed the empty directory
            make_directory(path.parent)
            continue
        try:
            os.write(descriptor, _this_process())
        except OSError:
            mark.unlink()  # empty, it would lock for good
            raise
        finally:
            os.close(descriptor)
        return lambda: mark.unlink(missing_ok=True)


def _remove(mark: Path, ended: Owner) -> None:
    """Removes the file of an owner that has ended, unless another process was faster."""
    aside = mark.with_name(f"{mark.name}.{PROCESS}")
    with contextlib.suppress(FileNotFoundError):
        mark.rename(aside)
        if _read(aside) != ended:  # the file of the process that was faster
            os.link(aside, mark)
        aside.unlink()


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def _this_process() -> bytes:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return json.dumps(asdict(Owner(socket.gethostname(), os.getpid(), since, PROCESS))).encode()


def _read(path: Path) -> Owner | None:
    """The owner that a file names; None where it is absent or not written to its end."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _holder(path: Path) -> str:
    """The owner in words, and what to do where nothing shows whether it has ended."""
    mark = _mark(path)
    by_mark = mark.exists()
    owner = _read(mark if by_mark else path)
    shown = f"process {owner.pid} on {owner.host}, since {owner.since}" if owner else "a process"
    return f"{shown} (remove {mark} if it has ended)" if by_mark else shown
