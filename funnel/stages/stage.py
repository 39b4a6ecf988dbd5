"""What every stage does around its work: it is timed, summarized, and ends with a line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from funnel.config.config import Config
from funnel.console import console
from funnel.reports import summary


@dataclass
class Outcome:
    """What a stage came to: its line on the screen, and sections of summary.json."""

    line: str = ""
    sections: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, line: str, **sections: Any) -> None:
        self.line = line
        self.sections |= sections

    def as_json(self, stage: str) -> dict[str, Any]:
        """What `funnel STAGE --json` prints."""
        return {"stage": stage, "seconds": round(self.seconds, 2)} | self.sections


@contextmanager
def timed(config: Config, name: str) -> Iterator[Outcome]:
    """Times a stage. Gives its outcome, to be called with the stage's line on the screen and
    sections of summary.json.
    """
    started, outcome = time.perf_counter(), Outcome()
    yield outcome
    outcome.seconds = time.perf_counter() - started
    config.run.mkdir(parents=True, exist_ok=True)
    summary.update(config.run, name, outcome.seconds, **outcome.sections)
    console.print(f"[green]✓[/green] {name:<10} {outcome.seconds:6.1f} s  {outcome.line}")


def warn(line: str) -> None:
    """A line that the user should act on."""
    console.print(f"[yellow]warning:[/yellow] {escape(line)}")


def inform(line: str) -> None:
    """A line that the user may want to know."""
    console.print(f"[dim]· {escape(line)}[/dim]")
