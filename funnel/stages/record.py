""".stages.json of a run's directory: what each stage was last done with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features import files
from features.locks import locked
from model.training.workers import worker


def read(run: Path) -> dict[str, Any]:
    """{stage: {"key": [what starts it over, what it resumes with], "done": whether it ended}}."""
    path = run / ".stages.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def note(run: Path, stage: str, key: list[str], *, done: bool) -> None:
    """Replaces a stage's entry. Only worker 0 writes the file."""
    if worker():
        return
    with locked(run / ".lock-stages", "record of a stage"):
        content = read(run) | {stage: {"key": key, "done": done}}
        files.write_text(run / ".stages.json", json.dumps(content, indent=1) + "\n")
