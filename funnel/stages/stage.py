"""What every stage does around its work: it is timed, summarized, and reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from features.errors import one_line
from funnel.config.config import Config
from funnel.listener import listener
from funnel.reports import summary


@dataclass
class Outcome:
    """What a stage came to: its line, what the library returns, and sections of summary.json."""

    line: str = ""
    result: Any = None
    sections: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, line: str, result: Any, **sections: Any) -> None:
        self.line, self.result = line, result
        self.sections |= sections

    def as_json(self, stage: str) -> dict[str, Any]:
        """What `funnel STAGE --json` prints."""
        done = {"seconds": round(self.seconds, 2)} if self.line else {}
        return {"stage": stage} | done | self.sections


@contextmanager
def timed(config: Config, name: str) -> Iterator[Outcome]:
    """Times a stage. Gives its outcome, to be called with the stage's line, result and
    sections of summary.json.
    """
    started, outcome = time.perf_counter(), Outcome()
    yield outcome
    outcome.seconds = time.perf_counter() - started
    summary.update(config.run, name, outcome.seconds, **outcome.sections)
    listener().done(name, outcome.seconds, one_line(outcome.line))


def warn(line: str) -> None:
    """A line that the user should act on."""
    listener().warn(one_line(line))


def inform(line: str) -> None:
    """A line that the user may want to know."""
    listener().inform(one_line(line))
