"""The screen: progress bars, tables, values; and TensorFlow without its start-up lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from features.errors import one_line, printable
from funnel.layout import blocks, total
from funnel.listener import listener


class Screen(Console):
    """A console on which no text acts: control characters are escaped, credentials hidden, and
    ":name:" stays what it is.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


console = Screen()
errors = Screen(stderr=True)

EVERY = 30.0  # seconds between lines of progress without a terminal


def is_live(screen: Console) -> bool:
    """Whether lines can be drawn over: on a terminal, unless TERM is dumb."""
    return screen.is_terminal and not screen.is_dumb_terminal


class Rate(ProgressColumn):
    """'31,200 rows/s' of the last seconds."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{_rate(speed)} {self.unit}/s")


class Lines:
    """Progress without a terminal: a line every 30 seconds or so (EVERY)."""

    def __init__(self, screen: Console) -> None:
        self.screen, self.started = screen, time.monotonic()
        self.shown = self.started

    def show(self, line: Callable[[], str]) -> None:
        """Prints the line if it is due."""
        if not is_live(self.screen) and time.monotonic() - self.shown >= EVERY:
            self.shown = time.monotonic()
            self.screen.print(f"· {line()}", markup=False)


@contextmanager
def progress_bar(
    title: str, unit: str, screen: Console | None = None
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with rate and time left that lasts as long as the block; gives update(done, of),
    whose `of` is None as long as it is not known. Without a terminal it prints a line now and
    then.
    """
    screen = screen or console
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        Rate(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    lines = Lines(screen)
    with Progress(*columns, console=screen, transient=True, disable=not is_live(screen)) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, of: int | None) -> None:
            bar.update(task, completed=done, total=of)
            seconds = time.monotonic() - lines.started
            lines.show(lambda: f"{title}: {progress_line(done, of, unit, seconds)}")

        yield update


def progress_line(done: int, of: int | None, unit: str, seconds: float) -> str:
    """What a bar shows, in words.

    Example:
        >>> progress_line(3000, 12000, "rows", 30.0)
        '3,000 of 12,000 rows, 100 rows/s, 1:30 left'
    """
    rate = done / seconds
    shown = f"{done:,}" if of is None else f"{done:,} of {of:,}"
    left = "" if of is None or not rate else f", {minutes((of - done) / rate)} left"
    return f"{shown} {unit}, {_rate(rate)} {unit}/s{left}"


def minutes(seconds: float) -> str:
    """A time left.

    Example:
        >>> minutes(90.4), minutes(3600)
        ('1:30', '60:00')
    """
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table. Numbers are shown to four digits, None as a dash, rich's Text in its style.

    On a terminal too narrow for all columns they follow below each other; elsewhere a table is as
    wide as its texts.
    """
    cells = [[literal(value) for value in row] for row in rows]
    limit = console.width if console.is_terminal else None
    console.print(literal(title, style="bold"), soft_wrap=limit is None)
    header = [one_line(name) for name in header]
    for block in blocks(header, [[cell.plain for cell in row] for row in cells], limit):
        shown = Table(width=total([width for _, width in block]))
        for column, width in block:
            justify: JustifyMethod = "right" if column else "left"
            name = literal(header[column])
            shown.add_column(name, justify=justify, overflow="fold", width=width)
        for row in cells:
            shown.add_row(*(row[column] for column, _ in block))
        console.print(shown, crop=False)


def literal(value: object, style: str = "") -> Text:
    """A value as rich's Text: brackets are not markup, and unseen characters are escaped, so that
    its width is known.
    """
    return value if isinstance(value, Text) else Text(printable(text(value)), style)


def text(value: object) -> str:
    """A value as people read it.

    Example:
        >>> text(0.71234567), text(1234567), text(None)
        ('0.7123', '1,234,567', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return (
            f"{value:.4g}"
            if abs(value) < 1e-3 or abs(value) >= 1e5
            else f"{value:.4f}".rstrip("0").rstrip(".")
        )
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines.

    Some of them come before its logging can be configured, so stderr is closed meanwhile.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with listener().waiting("importing TensorFlow"):
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
