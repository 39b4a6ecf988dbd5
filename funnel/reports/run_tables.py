"""The tables of a run: how its rows are accounted for, its evaluation, and its outcome."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.text import Text

from features.errors import one_line
from funnel.console import console, table
from funnel.reports import summary
from model.evaluation.constants import beside
from model.metrics import METRICS

ROW_KEYS = ("impressions_read", "examples_written", "rejected", "dropped_immature", "sampled_out")


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
            ["", *manifest["events"]],
            [
                [kind.replace("_", " "), *(counts[kind] for counts in manifest["events"].values())]
                for kind in kinds
            ],
        )
    dates = {"dates": manifest["dates"]} if manifest["dates"] else {}
    calendar = [
        [name.replace("_", " "), time]
        for name, time in (dates | manifest["calendar"]).items()
        if time
    ]
    if calendar:
        table("Calendar (UTC)", ["", "time"], calendar)


def show_evaluation(evaluation: dict[str, Any]) -> None:
    """The metrics, with a column for each task and joint. `constant` is the training split's rate,
    or mean.
    """
    metrics = [key for metric in METRICS for key in beside(metric)]
    metrics.insert(metrics.index("auc") + 1, "auc_entire_space")
    keys = ["rows", *metrics, "threshold", "constant"]
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
    show_evaluation(outcome.get("evaluation", {}))
    paths = [
        ["model", outcome["export"]["path"]],
        ["report", run / "report.html"],
        ["summary", run / "summary.json"],
    ]
    table("Where", ["", "path"], paths)
    funnel = "funnel" if shutil.which("funnel") else os.path.relpath(sys.argv[0])
    if not funnel.endswith("funnel"):
        funnel = "python -m funnel"
    inspect = f"{funnel} inspect {one_line(str(run))}"
    another = f"{funnel} run {one_line(str(config))} --set model.sharing=ple"
    console.print(Text.assemble("Next: ", (inspect, "bold"), ", or ", (another, "bold")))


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{one_line(reason)}: {count:,}" for reason, count in counts.items()) or "0"
