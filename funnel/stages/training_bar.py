"""The progress bar of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from funnel.console import console
from model.training.progress import Callback, Progress


@contextmanager
def training_bar(screen: Console | None = None) -> Iterator[Callback]:
    """A bar that lasts as long as the block, and the callback that moves it. It is shown only on a
    terminal.
    """
    screen = screen or console
    columns = (
        TextColumn("  training"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bars:
        task = bars.add_task("training", total=None, info="")

        def show(progress: Progress) -> None:
            bars.update(
                task, completed=progress.step, total=progress.total, info=describe(progress)
            )

        yield show


def describe(progress: Progress) -> str:
    """'31,200 rows/s · loss ctr 0.2947 ctcvr 0.0795 · rate 0.001 · input 2 % · 1:05 left'."""
    losses = " ".join(f"{name} {loss:.4f}" for name, loss in progress.losses.items())
    parts = [
        f"{progress.rows_per_second:,.0f} rows/s",
        f"loss {losses}",
        f"rate {progress.learning_rates['dense']:.3g}",
    ]
    parts.append(f"input {100 * progress.waiting:.0f} %")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(parts)
