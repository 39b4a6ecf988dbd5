"""A run's report: one HTML file with its rows, labels, metrics and plots inside."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from jinja2 import Environment, PackageLoader

from funnel import summary
from funnel.console import text


def write_report(run: Path) -> Path:
    """Writes report.html from what the stages left behind."""
    data = run / "data"
    environment = Environment(loader=PackageLoader("funnel"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = text
    page = environment.get_template("report.html").render(
        name=run.name,
        summary=summary.read(run),
        manifest=json.loads((data / "manifest.json").read_text()),
        statistics=json.loads((data / "statistics.json").read_text()),
        losses=_losses_plot(run / "model" / "metrics.jsonl"),
        reliability=_reliability_plot(run / "model" / "reliability.json"),
    )
    (run / "report.html").write_text(page)
    return run / "report.html"


def _losses_plot(path: Path) -> str:
    """Each objective's mean loss since the point before, by step."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    points = [line for line in lines if "loss" in line]
    figure, axes = _figure(1)
    for name in points[-1]["loss"] if points else []:
        axes[0].plot([p["step"] for p in points], [p["loss"][name] for p in points], marker=".", label=name)
    axes[0].set(xlabel="step", ylabel="loss", title="Loss by objective")
    axes[0].legend()
    return _embedded(figure)


def _reliability_plot(path: Path) -> str:
    """Of each tenth of the rows the mean label against the mean prediction; on the diagonal where calibrated."""
    tenths = json.loads(path.read_text())
    figure, axes = _figure(len(tenths))
    for axis, (name, points) in zip(axes, tenths.items(), strict=True):
        predicted, actual = [p for p, _, _ in points], [a for _, a, _ in points]
        top = max(*predicted, *actual) * 1.05
        axis.plot([0, top], [0, top], color="lightgray")
        axis.plot(predicted, actual, marker="o", markersize=4)
        axis.set(xlabel="mean prediction", ylabel="mean label", title=f"Calibration of {name}")
    return _embedded(figure)


def _figure(count: int) -> tuple:
    from matplotlib.figure import Figure  # no pyplot: it would look for a screen

    figure = Figure(figsize=(4.6 * count if count > 1 else 6.5, 3.4), layout="constrained", dpi=110)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _embedded(figure: object) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
