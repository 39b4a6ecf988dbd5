"""The progress bar of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from funnel.console import Lines, console, is_live, minutes
from model.training.progress import Callback, Progress

BESIDE = 58  # characters of the bar's other columns


@contextmanager
def training_bar(screen: Console | None = None) -> Iterator[Callback]:
    """A bar that lasts as long as the block, and the callback that moves it. Without a terminal the
    callback prints a line now and then.
    """
    screen = screen or console
    columns = (
        TextColumn("  training"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}"),
        TimeElapsedColumn(),
    )
    lines = Lines(screen)
    with Bars(*columns, console=screen, transient=True, disable=not is_live(screen)) as bars:
        task = bars.add_task("training", total=None, info="")

        def show(progress: Progress) -> None:
            info = describe(progress)
            if cell_len(info) > screen.width - BESIDE:
                info = describe_briefly(progress)
            bars.update(task, completed=progress.step, total=progress.total, info=info)
            step = f"step {progress.step:,} of {progress.total:,}"
            lines.show(lambda: f"training: {step} · {describe(progress)}")

        yield show


def describe_briefly(progress: Progress) -> str:
    """'31,200 rows/s · 1:05 left', for narrow screens."""
    parts = describe(progress).split(" · ")
    return " · ".join([parts[0], *(part for part in parts if part.endswith(" left"))])


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
        parts.append(f"{minutes(progress.seconds_left)} left")
    return " · ".join(parts)
