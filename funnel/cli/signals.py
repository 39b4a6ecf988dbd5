"""Signals as exceptions, so that files that are being written are removed on the way out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from model.training.interrupts import handled, leave_lost_terminal


class Terminated(BaseException):
    """SIGTERM or SIGHUP, the signal `number`, ended the work. It is not an Exception: no handler of
    errors may catch it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def terminable(*, ctrl_c: bool = False) -> Iterator[None]:
    """Raises Terminated where the first SIGTERM or SIGHUP arrives in the block; a second one ends
    the process at once. A training takes these signals itself, since it ends between two steps.
    With `ctrl_c`, SIGINT counts as SIGTERM. No-op outside the main thread, where Python takes no
    signals, and for a signal that the process ignores, as SIGHUP under nohup.
    """
    before = {number: signal.signal(number, _terminate) for number in handled()}
    if ctrl_c and before and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _as_sigterm)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    leave_lost_terminal()
    raise Terminated(number)


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)
