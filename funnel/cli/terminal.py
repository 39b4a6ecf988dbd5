"""What stages report, on the terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rich.markup import escape

from features.errors import one_line
from funnel.console import console, is_live, progress_bar
from funnel.listener import Listener, Update

if TYPE_CHECKING:
    from model.training.progress import Callback


class Terminal(Listener):
    """Prints a line for each stage, warning and note, and shows bars while a stage works."""

    def done(self, stage: str, seconds: float, line: str) -> None:
        console.print(f"[green]✓[/green] {stage:<10} {seconds:6.1f} s  {_shown(line)}")

    def warn(self, line: str) -> None:
        console.print(f"[yellow]warning:[/yellow] {_shown(line)}")

    def inform(self, line: str) -> None:
        console.print(f"[dim]· {_shown(line)}[/dim]")

    def waiting(self, title: str) -> AbstractContextManager[object]:
        return console.status(title, spinner="line") if is_live(console) else nullcontext()

    def progress(self, title: str, unit: str) -> AbstractContextManager[Update]:
        return progress_bar(title, unit)

    def training(self) -> AbstractContextManager[Callback]:
        from funnel.stages.training_bar import training_bar

        return training_bar()


def _shown(line: str) -> str:
    return escape(one_line(line))
