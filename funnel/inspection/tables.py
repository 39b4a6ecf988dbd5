"""Rows of any width as tables that fit the screen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from features.errors import one_line, printable
from funnel.console import console, literal, text

NAME_WIDTH, TYPE_WIDTH = 26, 16  # at most, of a transposed table
VALUE_WIDTH = 13  # at least
FOLDED = 2  # lines of a value at most, of a transposed table
LISTED = 200  # columns at most
BORDER = 3  # characters a column

Column = dict[str, str]


def facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """Names and values, one a line; those without a value are left out."""
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            shown.add_row(name, literal(str(value)))
    console.print(shown)


def grid(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table of texts, to the left, and of numbers, to the right. Long values are folded."""
    shown = Table(title=literal(title), title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        values = [row[number] for row in rows]
        numbers = any(isinstance(value, int | float) for value in values)
        justify: JustifyMethod = "right" if numbers else "left"
        shown.add_column(literal(name), justify=justify, overflow="fold")
    for row in rows:
        shown.add_row(*("" if value is None else literal(value) for value in row))
    console.print(shown)


def rows_table(title: str, columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the types of their columns: one row a line if they fit, else one column a line,
    with as many rows side by side as fit.

    Args:
        title: The heading.
        columns: {name, type} of each.
        rows: Values by name.
    """
    hidden, columns = len(columns) - LISTED, columns[:LISTED]
    lines = [[cell(row.get(column["name"])) for column in columns] for row in rows]
    headers = [(one_line(column["name"]), one_line(column["type"])) for column in columns]
    widths = [
        max(map(len, [*header, *(line[n] for line in lines)])) for n, header in enumerate(headers)
    ]
    if sum(widths) + BORDER * len(widths) + 1 <= console.width:
        _print(
            title, [Text.assemble(f"{name}\n", (type_, "dim")) for name, type_ in headers], lines
        )
        return
    name_width = min(NAME_WIDTH, max(len(name) for name, _ in headers))
    type_width = min(TYPE_WIDTH, max(len(type_) for _, type_ in headers))
    room = console.width - name_width - type_width - 2 * BORDER - 1
    side_by_side = max(1, min(room // (VALUE_WIDTH + BORDER), len(rows)))
    width = max(VALUE_WIDTH, room // side_by_side - BORDER)
    for start in range(0, max(1, len(rows)), side_by_side):
        block = lines[start : start + side_by_side]
        numbers = [f"row {n}" for n in range(start + 1, start + 1 + len(block))]
        transposed = [
            [
                name,
                _cut(type_, FOLDED * type_width),
                *(_cut(line[n], FOLDED * width) for line in block),
            ]
            for n, (name, type_) in enumerate(headers)
        ]
        above = [Text(name) for name in ("column", "type", *numbers)]
        _print("" if start else title, above, transposed)
        if hidden > 0:
            console.print(f"… {hidden:,} more columns (--json has all)")


def cell(value: Any) -> str:
    """A value on one line.

    Example:
        >>> cell(None), cell(0.25), cell([1, 2]), cell([(7, 0.5)]), cell({"a": 1})
        ('–', '0.25', '1, 2', '7 × 0.5', '{"a": 1}')
    """
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "–"
    if isinstance(value, tuple):
        return " × ".join(map(cell, value))
    if isinstance(value, dict):
        return printable(json.dumps(value, ensure_ascii=False, default=str))
    if isinstance(value, int):  # an id
        return str(value)
    return printable(" ".join(text(value).split()))


def _print(title: str, header: Sequence[Text], lines: Sequence[Sequence[str]]) -> None:
    shown = Table(title=literal(title) if title else None, title_justify="left", title_style="bold")
    for name in header:
        shown.add_column(name, overflow="fold")
    for line in lines:
        shown.add_row(*map(literal, line))
    console.print(shown)


def _cut(value: str, width: int) -> str:
    return value if len(value) <= width else value[: width - 1] + "…"
