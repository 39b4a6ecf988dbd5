"""python watched.py TARGET SOCKET FORKS PRINTED: does the requests of a `system_calls.Process`."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from system_calls import CALLS


def _listener() -> int:
    """Installs the filter in all threads of this process; returns its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    steps = [(0x20, 0, 0, 4), (0x15, 0, len(CALLS) + 1, 0xC000003E), (0x20, 0, 0, 0)]
    steps += [(0x15, len(CALLS) - at, 0, number) for at, number in enumerate(CALLS)]
    steps += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FC00000)]  # allow, ask
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    )
    flags = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5  # all threads, a listener; only SIGKILL interrupts
    found = libc.syscall(317, 1, flags, filter_)
    if found < 0:
        raise OSError(ctypes.get_errno(), "seccomp: the kernel refuses the filter")
    return int(found)


def _listen(server: socket.socket) -> None:
    listener = _listener()
    socket.send_fds(server, [str(os.getpid()).encode()], [listener])
    os.close(listener)


def _requests(server: socket.socket) -> Iterator[list[str]]:
    while message := server.recv(1 << 16):
        yield json.loads(message)


def _do(work: Callable[..., int], arguments: list[str]) -> int:
    code = work(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _print_to(printed: str) -> None:
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(Path(printed).with_suffix(suffix), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)


def main(target: str, descriptor: str, forks: str, printed: str) -> None:
    """Does the requests that come through a socket."""
    module, _, name = target.partition(":")
    work = getattr(importlib.import_module(module), name)
    server = socket.socket(fileno=int(descriptor))
    if forks == "0":
        _listen(server)
    for arguments in _requests(server):
        _print_to(printed)
        if forks == "0":
            server.send(str(_do(work, arguments)).encode())
            continue
        child = os.fork()
        if not child:
            _listen(server)
            code = 70
            try:
                code = _do(work, arguments)
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        server.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
