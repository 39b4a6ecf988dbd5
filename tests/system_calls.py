"""Watches the system calls of a process on files below a directory, and makes chosen ones fail.

The process asks the kernel, by a seccomp filter, to stop it at each call and to ask this one what
to do. So the calls of Python, of Arrow's C++ and of TensorFlow's are all seen, those of threads and
of children too. It needs Linux 5.19 on x86-64, but neither a compiler nor root.

The process itself is watched.py.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Number → (name, the arguments that hold its paths). A path is a descriptor ("0"), the address of a
# text ("*0") or such an address below a directory ("0/1").
CALLS = {
    **dict.fromkeys((1, 18, 20, 40, 285, 296), ("write", "0")),
    **dict.fromkeys((74, 75), ("fsync", "0")),
    **dict.fromkeys((2, 85), ("open", "*0")),
    **dict.fromkeys((264, 316), ("rename", "0/1 2/3")),
    3: ("close", "0"),
    76: ("truncate", "*0"),
    77: ("truncate", "0"),
    82: ("rename", "*0 *1"),
    83: ("mkdir", "*0"),
    84: ("rmdir", "*0"),
    86: ("link", "*0 *1"),
    87: ("unlink", "*0"),
    257: ("open", "0/1"),
    258: ("mkdir", "0/1"),
    263: ("unlink", "0/1"),
    265: ("link", "0/1 2/3"),
    326: ("write", "2"),
}
FLAGS = {2: 1, 257: 2}  # the argument that holds how a file is opened
# What each can fail with, by its manual page; a file that is only read does not fill the disk, and
# only a written one fails when it is closed.
ERRORS = {
    **dict.fromkeys(("open", "rename", "link", "mkdir"), (errno.ENOSPC, errno.EIO, errno.EACCES)),
    **dict.fromkeys(("write", "fsync", "close"), (errno.ENOSPC, errno.EIO)),
    **dict.fromkeys(("truncate", "rmdir", "unlink"), (errno.EIO, errno.EACCES)),
}
AT_CWD = 0xFFFFFF9C
RECEIVE, SEND = 0xC0502100, 0xC0182101  # ioctls of a listener
NOTIFICATION, ANSWER = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
CONTINUE = 1


@dataclass(frozen=True)
class Call:
    """A system call: its name, its paths relative to the watched directory, and whether a file is
    open for writing.
    """

    name: str
    path: str
    to: str = ""
    writing: bool = False

    @property
    def errors(self) -> tuple[int, ...]:
        """What it can fail with."""
        if self.name == "open" and not self.writing:
            return (errno.EIO, errno.EACCES)
        return ERRORS[self.name]


@dataclass(frozen=True)
class Outcome:
    """How a request ended: its exit code (negative: by a signal), the calls, and what was printed.

    `failed` is the call that was made to fail, None where there were fewer.
    """

    code: int
    calls: list[Call]
    failed: Call | None
    out: str
    err: str


class Process:
    """A process that does what it is asked to do by `target`, "module:function", which takes the
    request's arguments and returns an exit code.

    Args:
        target: imported once, before the first request.
        root: the directory whose files are watched.
        forks: whether each request has a process of its own, a fork.
        unwatched: files of this name are not watched where they are only read.

    The process removes root/.pause to have what follows not watched, until it does so again.
    """

    def __init__(self, target: str, root: Path, *, forks: bool, unwatched: str = "") -> None:
        self.root, self.unwatched, self.paused = str(root), unwatched, False
        self.printed = root.with_name(root.name + ".printed")
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        arguments = [target, str(theirs.fileno()), str(int(forks)), str(self.printed)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("watched.py")), *arguments],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": path},
        )
        theirs.close()
        self.listener: int | None = None
        self.child = self.process.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # it would wait for an answer to its last calls
        self.process.wait()
        self.socket.close()
        if self.listener is not None:
            os.close(self.listener)

    def ask(
        self,
        *arguments: str,
        fail: int = 0,
        by: int = 0,
        on_call: Callable[[int, Call], None] = lambda number, call: None,
    ) -> Outcome:
        """Waits for the end of a request.

        Args:
            arguments: of the function.
            fail: the number of the call, from 1, that fails; 0 for none.
            by: the errno it fails with; 0 kills the process before the call. A full disk (ENOSPC)
                stays full: all later calls that can fail so do.
            on_call: called with the number of each call before it is done.
        """
        calls: list[Call] = []

        def decide(call: Call) -> int:
            calls.append(call)
            on_call(len(calls), call)
            if len(calls) == fail and not by:
                os.kill(self.child, signal.SIGKILL)
            full = by == errno.ENOSPC and 0 < fail < len(calls) and by in call.errors
            return by if len(calls) == fail or full else 0

        self.socket.send(json.dumps(arguments).encode())
        code = self._served(decide)
        failed = calls[fail - 1] if 0 < fail <= len(calls) else None
        out, err = (self.printed.with_suffix(s).read_text() for s in (".out", ".err"))
        return Outcome(code, calls, failed, out, err)

    def _served(self, decide: Callable[[Call], int]) -> int:
        """Answers the kernel until the request has ended; returns its exit code."""
        while True:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            if self.listener is not None:
                poll.register(self.listener, select.POLLIN)
            event = dict(ready := poll.poll()).get(self.listener, 0)
            if event & select.POLLIN:
                self._answer(self.listener, decide)
            elif event:  # all its processes have ended
                os.close(self.listener)
                self.listener = None
            elif ready:
                message, found, _, _ = socket.recv_fds(self.socket, 100, 1)
                if not message:
                    raise RuntimeError("the process has ended")
                if not found:
                    return int(message)
                self.listener, self.child = found[0], int(message)

    def _answer(self, listener: int, decide: Callable[[Call], int]) -> None:
        buffer = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, buffer)
        except OSError:  # killed meanwhile
            return
        id_, thread, _, number, _, _, *arguments = NOTIFICATION.unpack(buffer)
        call = self._call(thread, number, arguments)
        error = decide(call) if call else 0
        answer = ANSWER.pack(id_, 0, -error, 0 if error else CONTINUE)
        with suppress(OSError):  # killed meanwhile
            fcntl.ioctl(listener, SEND, answer)

    def _call(self, thread: int, number: int, arguments: list[int]) -> Call | None:
        """The call, if it is on a watched file."""
        name, places = CALLS[number]
        try:
            paths = [_path(thread, place, arguments) for place in places.split()]
            flags = arguments[FLAGS[number]] if number in FLAGS else 0
            if name == "close":
                info = Path(f"/proc/{thread}/fdinfo/{arguments[0]}").read_text()
                flags = int(info.split("flags:")[1].split()[0], 8)
        except (OSError, UnicodeDecodeError):  # not a descriptor, or the process has ended
            return None
        writing = name != "open" or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writing and os.path.basename(paths[0]) == self.unwatched:
            return None
        if name == "close":
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR))
            if not writing or ".lock-" in paths[0]:  # which would stay locked: it was not closed
                return None
        inside = [p[len(self.root) :] for p in paths if (p + "/").startswith(self.root + "/")]
        if inside == ["/.pause"]:
            self.paused = not self.paused
        if self.paused or inside in ([], ["/.pause"]):
            return None
        return Call(name, *(p.lstrip("/") or "." for p in inside), writing=writing)


def _path(thread: int, place: str, arguments: list[int]) -> str:
    if place.startswith("*"):
        return _below(f"/proc/{thread}/cwd", _text(thread, arguments[int(place[1:])]))
    if "/" not in place:
        return os.readlink(f"/proc/{thread}/fd/{arguments[int(place)] & 0xFFFFFFFF}")
    folder, text = (arguments[int(number)] for number in place.split("/"))
    folder &= 0xFFFFFFFF
    at = f"/proc/{thread}/cwd" if folder == AT_CWD else f"/proc/{thread}/fd/{folder}"
    return _below(at, _text(thread, text))


def _below(folder: str, path: str) -> str:
    if not path.startswith("/"):
        path = f"{os.readlink(folder)}/{path}"
    return os.path.normpath(path)


def _text(thread: int, address: int) -> str:
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY)
    try:
        found = b""
        while b"\0" not in found and len(found) < 4096:  # page by page: one may be the last
            found += os.pread(memory, 4096 - (address + len(found)) % 4096, address + len(found))
        return os.fsdecode(found.partition(b"\0")[0])
    finally:
        os.close(memory)
