"""A run's report: one HTML file with rows, labels, metrics and plots."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: it would look for a screen

from features import files
from features.errors import printable
from features.manifest import read_json_lines
from funnel.console import text
from funnel.reports import summary
from model.evaluation.constants import beside
from model.metrics import METRICS


def write_report(run: Path, data: Path) -> Path:
    """Writes report.html from the files of the other stages and of the preprocessed directory."""
    results = summary.read(run)
    gates = results.get("health", {}).get("gates")
    environment = Environment(
        loader=PackageLoader("funnel.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["text"] = text
    page = environment.get_template("report.html").render(
        name=run.name,
        summary=results,
        columns=_metric_columns(results["evaluation"]),
        manifest=json.loads((data / "manifest.json").read_text()),
        statistics=json.loads((data / "statistics.json").read_text()),
        losses=_losses_plot(run / "model" / "metrics.jsonl"),
        reliability=_reliability_plot(run / "model" / "reliability.json"),
        gates=_gates_plot(gates) if gates else None,
    )
    files.write_text(run / "report.html", page)
    return run / "report.html"


def _printable(value: Any) -> Any:
    """What a page shows of a value; Markup and numbers are left as they are."""
    return printable(value) if type(value) is str else value


def _metric_columns(evaluation: dict[str, dict[str, float | None]]) -> dict[str, str]:
    """{title: key} of the evaluation's table; metrics that no task has are left out."""
    titles = {
        METRICS[metric].title + (" of the constant" if key != metric else ""): key
        for metric in METRICS
        for key in beside(metric)
    }
    columns = {"rows": "rows"} | titles | {"threshold": "threshold", "constant": "constant"}
    return {
        title: key
        for title, key in columns.items()
        if any(key in task for task in evaluation.values())
    }


def _losses_plot(path: Path) -> str | None:
    """Each objective's mean loss by step; None for a training that wrote no log."""
    points = [line for line in read_json_lines(path) if "loss" in line]
    if not points:
        return None
    figure, axes = _figure(1)
    for name in points[-1]["loss"]:
        axes[0].plot(
            [p["step"] for p in points], [p["loss"][name] for p in points], marker=".", label=name
        )
    axes[0].set(xlabel="step", ylabel="loss", title="Loss by objective")
    axes[0].legend()
    return _embedded(figure)


def _reliability_plot(path: Path) -> str:
    """The mean label against the mean prediction of each tenth of the rows. A calibrated model lies
    on the diagonal.
    """
    tenths = json.loads(path.read_text())
    figure, axes = _figure(len(tenths))
    for axis, (name, points) in zip(axes, tenths.items(), strict=True):
        predicted, actual = [p for p, _, _ in points], [a for _, a, _ in points]
        top = max([*predicted, *actual], default=1) * 1.05
        axis.plot([0, top], [0, top], color="lightgray")
        axis.plot(predicted, actual, marker="o", markersize=4)
        axis.set(xlabel="mean prediction", ylabel="mean label", title=f"Calibration of {name}")
    return _embedded(figure)


def _gates_plot(gates: dict[str, dict[str, Any]]) -> str:
    """A heat map for each level: the mean weight of each expert (across) in each gate (down); white
    where the gate does not mix it.
    """
    levels: dict[str, dict[str, dict[str, Any]]] = {}
    for gate, one in gates.items():
        level, _, head = gate.partition("/")
        levels.setdefault(level, {})[head] = one
    experts = {
        level: list(dict.fromkeys(name for one in own.values() for name in one["weights"]))
        for level, own in levels.items()
    }
    heights = [len(own) + 2.2 for own in levels.values()]
    width = min(13.0, 3.2 + 0.8 * max(map(len, experts.values())))
    figure = Figure(figsize=(width, 0.45 * sum(heights)), layout="constrained", dpi=110)
    for axis, level in zip(
        figure.subplots(len(levels), 1, squeeze=False, height_ratios=heights)[:, 0],
        levels,
        strict=True,
    ):
        _heat_map(axis, level, levels[level], experts[level])
    return _embedded(figure)


def _heat_map(axis: Axes, level: str, gates: dict[str, dict[str, Any]], experts: list[str]) -> None:
    grid = [[one["weights"].get(name, float("nan")) for name in experts] for one in gates.values()]
    axis.imshow(grid, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(
        range(len(experts)), [name.partition("/")[2] for name in experts], rotation=30, ha="right"
    )
    axis.set_yticks(
        range(len(gates)), [f"{head}, entropy {one['entropy']:.2f}" for head, one in gates.items()]
    )
    axis.set(title=level.replace("_", " "))
    for row, one in enumerate(gates.values()):
        for name, weight in one["weights"].items():
            color = "white" if weight > 0.6 else "black"
            axis.text(
                experts.index(name),
                row,
                f"{weight:.2f}",
                ha="center",
                va="center",
                color=color,
                fontsize=8,
            )


def _figure(count: int) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(4.6 * count if count > 1 else 6.5, 3.4), layout="constrained", dpi=110)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _embedded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
