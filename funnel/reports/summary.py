"""summary.json: the results of a run, filled in stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features import files
from features.locks import locked
from funnel.version import __version__
from model.training.workers import worker


def read(run: Path) -> dict[str, Any]:
    """The summary so far; empty for a new run."""
    path = run / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def update(run: Path, stage: str, seconds: float, **sections: Any) -> None:
    """Replaces sections, the stage's seconds and the version. Only worker 0 writes the file."""
    if worker():
        return
    with locked(run / ".lock-summary", "summary of a stage"):
        summary = read(run) | sections
        summary["funnel"] = __version__
        summary["seconds"] = summary.get("seconds", {}) | {stage: round(seconds, 2)}
        files.write_text(run / "summary.json", json.dumps(summary, indent=1) + "\n")
