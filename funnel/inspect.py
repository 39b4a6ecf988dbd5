"""What a run's directory holds, as tables in the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from features.errors import FunnelError
from funnel import summary
from funnel.console import console, table


def show(run: Path) -> None:
    """Rows, inputs, events, labels, features, metrics and exports; what is not there yet is left out."""
    data = run / "data"
    if not (data / "manifest.json").exists() and not (run / "summary.json").exists():
        raise FunnelError(f"{run}: holds neither data/manifest.json nor summary.json, so it is no run's directory; see `funnel run --help`")
    if (data / "manifest.json").exists():
        manifest, statistics = (json.loads((data / f"{name}.json").read_text()) for name in ("manifest", "statistics"))
        show_rows(manifest)
        show_statistics(statistics)
    show_metrics(run)


def show_rows(manifest: dict) -> None:
    """How every row and every event is accounted for."""
    rows = manifest["rows"]
    table("Impressions", ["read", "= written", "+ rejected", "+ immature", "+ sampled out"], [[rows[k] for k in ROW_KEYS]])
    inputs = [[name, i["files"], i["rows_read"], _counts(i["rejected"])] for name, i in manifest["inputs"].items()]
    table("Inputs", ["stream", "files", "rows", "rejected"], inputs)
    if manifest["events"]:
        kinds = list(next(iter(manifest["events"].values())))
        table("Events", ["label", *kinds], [[label, *(counts[k] for k in kinds)] for label, counts in manifest["events"].items()])
    calendar = [[name.replace("_", " "), time] for name, time in manifest["calendar"].items() if time]
    if calendar:
        table("Calendar", ["", "time"], calendar)


ROW_KEYS = ("impressions_read", "examples_written", "rejected", "dropped_immature", "sampled_out")


def show_statistics(statistics: dict) -> None:
    """Labels by split, and the training split's features."""
    labels = [
        [f"{split} {name}", *counts.values(), statistics["rates"][split][name]]
        for split, by_name in statistics["labels"].items()
        for name, counts in by_name.items()
    ]
    table("Labels", ["split, label", "positive", "negative", "unknown", "rate"], labels)
    keys = ("missing", "mean", "deviation", "min", "max")
    features = [[name, *(one.get(k) for k in keys)] for name, one in statistics["features"].items()]
    table("Features (training split; mean and deviation of the transformed values)", ["feature", *keys], features)


def show_metrics(run: Path) -> None:
    """The evaluation: a column for each task and joint, so that it fits a narrow terminal."""
    evaluation = summary.read(run).get("evaluation", {})
    keys = ("rows", "auc", "auc_entire_space", "logloss", "calibration", "precision", "recall", "accuracy", "threshold")
    keys = [k for k in keys if any(k in result for result in evaluation.values())]
    if evaluation:
        table("Evaluation", ["", *evaluation], [[k.replace("_", " "), *(r.get(k) for r in evaluation.values())] for k in keys])


def show_outcome(run: Path, config: Path) -> None:
    """The end of a run: rows, metrics, where everything lies, and what to try next."""
    outcome = summary.read(run)
    table("Impressions", ["read", "= written", "+ rejected", "+ immature", "+ sampled out"], [[outcome["rows"][k] for k in ROW_KEYS]])
    show_metrics(run)
    places = [["model", outcome["export"]["path"]], ["report", run / "report.html"], ["summary", run / "summary.json"]]
    table("Where", ["", "path"], places)
    funnel = "funnel" if shutil.which("funnel") else os.path.relpath(sys.argv[0])
    if not funnel.endswith("funnel"):
        funnel = "python -m funnel"
    console.print(f"Next: [bold]{funnel} inspect {run}[/bold], or [bold]{funnel} run {config} --set model.sharing=ple[/bold]")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.items()) or "0"
