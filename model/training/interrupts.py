"""SIGTERM and SIGHUP as a request to stop, looked at between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, ClassVar, Self

STOPS = (signal.SIGTERM, signal.SIGHUP)


def handled() -> list[signal.Signals]:
    """The signals of STOPS that this process does not ignore, as it does SIGHUP under nohup; none
    outside the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]


def leave_lost_terminal() -> None:
    """Turns stdout and stderr to /dev/null where their terminal has closed, since writing to it
    would be an error from then on. It is then a character device, but not a terminal.
    """
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


class Interrupts:
    """While it is entered, the first of STOPS sets `requested`; a second one ends the process.

    Nested instances share the outermost one's state. No-op outside the main thread. `at_once`,
    while it is set, makes an exception of the signal's number, which is raised instead: for work
    that loses nothing by ending anywhere.
    """

    _outermost: ClassVar[Interrupts | None] = None

    def __init__(self, at_once: Callable[[int], BaseException] | None = None) -> None:
        self.at_once = at_once
        self._number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def number(self) -> int | None:
        """The signal that came; None as long as none has."""
        return Interrupts._outermost._number if Interrupts._outermost is not None else None

    @property
    def requested(self) -> bool:
        return self.number is not None

    def __enter__(self) -> Self:
        if Interrupts._outermost is None and (numbers := handled()):
            self._before = {number: signal.signal(number, self._request) for number in numbers}
            Interrupts._outermost = self
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        for one in self._before:
            signal.signal(one, signal.SIG_DFL)
        self._number = number
        leave_lost_terminal()
        if self.at_once is not None:
            raise self.at_once(number)

    def __exit__(self, *error: object) -> None:
        if Interrupts._outermost is self:
            Interrupts._outermost = None
            for number, handler in self._before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def while_waiting() -> Iterator[None]:
    """Restores the handlers of signals after the start of several workers.

    TensorFlow replaces the handler of SIGTERM. It also waits for the other workers where Python
    handles no signals, so SIGINT ends the process meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        signal.SIGTERM: signal.getsignal(signal.SIGTERM),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_DFL),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
