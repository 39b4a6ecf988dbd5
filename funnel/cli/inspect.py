"""The files of a run's directory, as tables in the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.markup import escape

from features.errors import FunnelError
from features.manifest import read_manifest
from funnel.console import console, table, text
from funnel.reports import statistics_tables, summary
from funnel.reports.examples import Value, first_examples

ROW_KEYS = ("impressions_read", "examples_written", "rejected", "dropped_immature", "sampled_out")
LISTED = 4  # values of a list


def show(run: Path) -> None:
    """Rows, inputs, events, statistics, metrics, as far as they exist yet."""
    if not (run / "data" / "manifest.json").exists() and not (run / "summary.json").exists():
        raise FunnelError(
            f"{run}: holds neither data/manifest.json nor summary.json, so it is not a run's "
            "directory; see `funnel run --help`"
        )
    if (run / "data" / "manifest.json").exists():
        manifest = read_manifest(run / "data")
        show_rows(manifest)
        statistics_tables.show(json.loads((run / "data" / "statistics.json").read_text()))
        for warning in manifest["warnings"]:
            console.print("[yellow]warning:[/yellow]", escape(warning))
    show_metrics(run)


def show_rows(manifest: dict[str, Any]) -> None:
    """How every row and every event is accounted for."""
    rows = manifest["rows"]
    table(
        "Impressions",
        ["read", "= written", "+ rejected", "+ immature", "+ sampled out"],
        [[rows[k] for k in ROW_KEYS]],
    )
    inputs = [
        [name, i["files"], i["rows_read"], _counts(i["rejected"]), _counts(i["lookup_misses"])]
        for name, i in manifest["inputs"].items()
    ]
    table("Inputs", ["stream", "files", "rows", "rejected", "not found in look-ups"], inputs)
    if manifest["events"]:
        kinds = list(next(iter(manifest["events"].values())))
        table(
            "Events",
            ["label", *kinds],
            [[label, *(counts[k] for k in kinds)] for label, counts in manifest["events"].items()],
        )
    dates = {"dates": manifest["dates"]} if manifest["dates"] else {}
    calendar = [
        [name.replace("_", " "), time]
        for name, time in (dates | manifest["calendar"]).items()
        if time
    ]
    if calendar:
        table("Calendar (UTC)", ["", "time"], calendar)


def show_examples(run: Path, count: int) -> None:
    """The first training examples: a column each, a line for each label and feature."""
    examples = first_examples(run / "data", read_manifest(run / "data"), count)
    lines = [
        [name, *(_value(e.get(name)) for e in examples)]
        for name in (examples[0] if examples else {})
        if name != "id"
    ]
    title = (
        "Training examples: labels, then ids and raw numbers by feature (– is unknown or missing)"
    )
    table(title, ["id", *(escape(str(e["id"])) for e in examples)], lines)


def _value(value: Value | tuple[Value, ...]) -> str:
    """A list is shown with one value a line."""
    if isinstance(value, list):
        more = [f"… {len(value) - LISTED} more"] if len(value) > LISTED else []
        return "\n".join([_value(v) for v in value[:LISTED]] + more) or "–"
    if isinstance(value, tuple):
        return " × ".join(map(_value, value))
    return str(value) if isinstance(value, int) else text(value)


def show_metrics(run: Path) -> None:
    """The evaluation, with a column for each task and joint."""
    evaluation = summary.read(run).get("evaluation", {})
    keys = (
        "rows",
        "auc",
        "auc_entire_space",
        "logloss",
        "mse",
        "mae",
        "calibration",
        "precision",
        "recall",
        "accuracy",
        "threshold",
    )
    keys = [k for k in keys if any(k in result for result in evaluation.values())]
    if evaluation:
        table(
            "Evaluation",
            ["", *evaluation],
            [[k.replace("_", " "), *(r.get(k) for r in evaluation.values())] for k in keys],
        )


def show_outcome(run: Path, config: Path) -> None:
    """The end of a run: rows, metrics, paths of the results, and what to try next."""
    outcome = summary.read(run)
    table(
        "Impressions",
        ["read", "= written", "+ rejected", "+ immature", "+ sampled out"],
        [[outcome["rows"][k] for k in ROW_KEYS]],
    )
    show_metrics(run)
    paths = [
        ["model", outcome["export"]["path"]],
        ["report", run / "report.html"],
        ["summary", run / "summary.json"],
    ]
    table("Where", ["", "path"], paths)
    funnel = "funnel" if shutil.which("funnel") else os.path.relpath(sys.argv[0])
    if not funnel.endswith("funnel"):
        funnel = "python -m funnel"
    console.print(
        f"Next: [bold]{funnel} inspect {run}[/bold], "
        f"or [bold]{funnel} run {config} --set model.sharing=ple[/bold]"
    )


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{escape(reason)}: {count:,}" for reason, count in counts.items()) or "0"
