"""Who hears what a stage reports: the logger `funnel`, or the terminal where a command runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.training.progress import Callback

LOG = logging.getLogger("funnel")
LOG.addHandler(logging.NullHandler())  # else Python prints warnings where logging is not set up
Update = Callable[..., None]  # (done, total)


class Listener:
    """Hears what stages report. This one, the library's, writes to the logger `funnel` and prints
    nothing; `funnel.cli.terminal.Terminal` prints.
    """

    def done(self, stage: str, seconds: float, line: str) -> None:
        """A stage has ended."""
        LOG.info("%s: %.1f s, %s", stage, seconds, line)

    def warn(self, line: str) -> None:
        """A line that the user should act on."""
        LOG.warning("%s", line)

    def inform(self, line: str) -> None:
        """A line that the user may want to know."""
        LOG.info("%s", line)

    def waiting(self, title: str) -> AbstractContextManager[object]:
        """Lasts as long as something of unknown length, as an import."""
        return nullcontext()

    def progress(self, title: str, unit: str) -> AbstractContextManager[Update]:
        """Gives update(done, total), which a stage calls while it works."""
        return nullcontext(lambda *_: None)

    def training(self) -> AbstractContextManager[Callback]:
        """Gives the callback that a training calls at each report."""
        return nullcontext(lambda _: None)


@contextmanager
def logging_as_it_is() -> Iterator[None]:
    """Keeps Beam and absl from setting up Python's logging, which belongs to the program that
    imports this one. They do so where the root logger has no handler.
    """
    nothing = logging.NullHandler()
    logging.getLogger().addHandler(nothing)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(nothing)


_current: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039


@contextmanager
def reporting_to(listener: Listener) -> Iterator[None]:
    """Stages that run inside the block report to `listener`."""
    token = _current.set(listener)
    try:
        yield
    finally:
        _current.reset(token)


def listener() -> Listener:
    """Who hears the stages of this context."""
    return _current.get()
