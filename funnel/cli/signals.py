"""SIGTERM as an exception, so that files that are being written are removed on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM ended the work. It is not an Exception: no handler of errors may catch it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raises Terminated where the first SIGTERM arrives in the block; a second one ends the process
    at once. A training takes the signal itself, since it ends between two steps. No-op outside the
    main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
