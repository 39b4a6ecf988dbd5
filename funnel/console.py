"""The screen: progress bars, tables, values; and TensorFlow without its start-up lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[..., None]]:
    """A bar that lasts as long as the block; gives update(done, total, losses=None)."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[info]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None, info="")

        def update(done: int, total: int, losses: dict[str, float] | None = None) -> None:
            info = " ".join(f"{name} {loss:.4f}" for name, loss in (losses or {}).items())
            bar.update(task, completed=done, total=total, info=info)

        yield update


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table. Numbers are shown to four digits, None as a dash."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        shown.add_column(name, justify="right" if number else "left")
    for row in rows:
        shown.add_row(*(text(value) for value in row))
    console.print(shown)


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


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines.

    Some of them come before its logging can be configured, so stderr is closed meanwhile.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, and says so
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
