"""What every stage does around its work: it is timed, summarized, and ends with a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.markup import escape

from funnel.config.config import Config
from funnel.console import console
from funnel.reports import summary


@contextmanager
def timed(config: Config, name: str) -> Iterator[Callable[..., None]]:
    """Times a stage. Gives done(line, **sections): the stage's line on the screen, and sections of
    summary.json.
    """
    started = time.perf_counter()
    shown, filled = "", {}

    def done(line: str, **sections: Any) -> None:
        nonlocal shown
        shown = line
        filled.update(sections)

    yield done
    seconds = time.perf_counter() - started
    config.run.mkdir(parents=True, exist_ok=True)
    summary.update(config.run, name, seconds, **filled)
    console.print(f"[green]✓[/green] {name:<10} {seconds:6.1f} s  {shown}")


def warn(line: str) -> None:
    """A line that the user should act on."""
    console.print(f"[yellow]warning:[/yellow] {escape(line)}")


def inform(line: str) -> None:
    """A line that the user may want to know."""
    console.print(f"[dim]· {escape(line)}[/dim]")
