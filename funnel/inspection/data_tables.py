"""A preprocessed directory as tables in 80 columns: features, the tf.Example, tasks, statistics."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from features.errors import one_line
from funnel.console import console, literal
from funnel.inspection.tables import grid
from funnel.reports import run_tables, statistics_tables

Document = dict[str, Any]
LISTED = 60  # features, lines of the schema


def data_facts(data: Document) -> list[tuple[str, Any]]:
    """When it was written and what is in its splits, for `tables.facts`."""
    splits = "; ".join(
        f"{split} {one['rows']:,} rows in {several(one['shards'], 'shard')} of "
        f"{one['bytes']:,} bytes"
        for split, one in data["splits"].items()
    )
    layout = f"layout {data['layout']}, compression {data['compression']}"
    return [
        ("data", f"written {data['written']}, {layout}, fingerprint {data['fingerprint']}"),
        ("splits", splits),
    ]


def data_tables(data: Document) -> None:
    """Features, the tf.Example in words, tasks, how rows are accounted for, statistics."""
    features = [
        [f["feature"], f["kind"], ", ".join(f["reads"]), f["rows"], f["dim"], ", ".join(f["slots"])]
        for f in data["features"][:LISTED]
    ]
    header = ["feature", "kind", "reads", "table rows", "dim", "slots"]
    grid("Features", header, features + _more(data["features"], len(header)))
    lines = _schema_lines(data["schema"])
    grid(
        f"The tf.Example (layout {data['layout']})",
        ["key", "type", "length", "meaning"],
        lines[:LISTED] + _more(lines, 4),
    )
    tasks = [
        [name, task["label"], task.get("given"), task.get("joint")]
        for name, task in data["tasks"].items()
    ]
    grid("Tasks", ["task", "predicts", "given", "joint"], tasks)
    run_tables.show_rows(data)
    if data["statistics"]:
        statistics_tables.show(data["statistics"])
    for warning in data["warnings"]:
        warn(warning)


def _schema_lines(schema: list[Document]) -> list[list[Any]]:
    lines: list[list[Any]] = []
    for entry in schema:
        parts = entry.get("parts", [])
        meaning = entry["meaning"] or several(len(parts), "feature")
        lines.append([entry["key"], entry["type"], entry["length"], meaning])
        lines += [[part["at"], "", "", f"{part['feature']}: {part['meaning']}"] for part in parts]
    return lines


def _more(values: list[Any], width: int) -> list[list[Any]]:
    """A line for what is not listed."""
    left = len(values) - LISTED
    return [[f"… {left:,} more (--json)", *[None] * (width - 1)]] if left > 0 else []


def several(count: int, noun: str) -> str:
    """A number and a noun, as in "2 shards"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def warn(warning: str) -> None:
    """A line that the user should act on."""
    console.print(Text("warning:", "yellow"), literal(one_line(warning)))
