"""summary.json: what a run came to, filled in stage by stage."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from model.training.workers import worker


def read(run: Path) -> dict[str, Any]:
    """The summary so far; empty for a new run."""
    path = run / "summary.json"
    return json.loads(path.read_text()) if path.exists() else {}


def update(run: Path, stage: str, seconds: float, **sections: Any) -> None:
    """Replaces sections, and the stage's seconds. The file is never seen half-written. Of several
    workers the first alone writes it.
    """
    if worker():
        return
    summary = read(run) | sections
    summary["seconds"] = summary.get("seconds", {}) | {stage: round(seconds, 2)}
    unfinished = run / ".summary.json.unfinished"
    unfinished.write_text(json.dumps(summary, indent=1) + "\n")
    os.replace(unfinished, run / "summary.json")
