"""SIGTERM as a request to stop, looked at between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, ClassVar, Self


class Interrupts:
    """While it is entered, the first SIGTERM sets `requested`; a second one ends the process.

    Nested instances share the outermost one's state. No-op outside the main thread, where Python
    takes no signals. `at_once`, while it is set, is raised by the signal instead: for work that
    loses nothing by ending anywhere.
    """

    _outermost: ClassVar[Interrupts | None] = None

    def __init__(self, at_once: BaseException | None = None) -> None:
        self.at_once = at_once
        self._signalled = False
        self._before: Any = None

    @property
    def requested(self) -> bool:
        return Interrupts._outermost is not None and Interrupts._outermost._signalled

    def __enter__(self) -> Self:
        if Interrupts._outermost is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._request)
            Interrupts._outermost = self
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.at_once is not None:
            raise self.at_once
        self._signalled = True

    def __exit__(self, *error: object) -> None:
        if Interrupts._outermost is self:
            Interrupts._outermost = None
            signal.signal(signal.SIGTERM, self._before)


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
