"""SIGTERM as a wish, to be granted between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, ClassVar, Self


class Interrupts:
    """While it is entered, the first SIGTERM sets `asked`; a second one ends the process. One
    inside another has been asked what the outer has, before too. Elsewhere than in the main thread
    signals cannot be taken.

    `at_once` is raised by a signal in place of the wish, for as long as it is set: where nothing is
    lost by ending anywhere.
    """

    _outermost: ClassVar[Interrupts | None] = None

    def __init__(self, at_once: BaseException | None = None) -> None:
        self.at_once = at_once
        self._signalled = False
        self._before: Any = None

    @property
    def asked(self) -> bool:
        return Interrupts._outermost is not None and Interrupts._outermost._signalled

    def __enter__(self) -> Self:
        if Interrupts._outermost is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
            Interrupts._outermost = self
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
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
    """For the start of several workers: TensorFlow takes SIGTERM for itself, which is given back
    afterwards, and waits for the others where Python takes no signals, so that SIGINT ends the
    process.
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
