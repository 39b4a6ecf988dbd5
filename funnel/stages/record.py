"""What .stages.json of a run's directory remembers: of each stage, what it was last done with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from model.training.workers import worker


def read(run: Path) -> dict[str, Any]:
    """{stage: {"key": [what a change of has it start over, what it goes on with], "done": whether
    it came to its end}}.
    """
    path = run / ".stages.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(run: Path, stage: str, key: list[str], *, done: bool) -> None:
    """Writes the file whole, or leaves the old one. Of several workers the first alone writes it."""
    if worker():
        return
    run.mkdir(parents=True, exist_ok=True)
    unfinished = run / ".stages.json.unfinished"
    unfinished.write_text(
        json.dumps(read(run) | {stage: {"key": key, "done": done}}, indent=1) + "\n"
    )
    os.replace(unfinished, run / ".stages.json")
