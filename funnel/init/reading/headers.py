"""The column names of CSV files: given by the user, or by a header that looks like one."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError
from funnel.init.reading.sample import Sample, first_line
from funnel.init.reading.streams import Log

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
REPEATED = 0.5  # the share of names that occur as values of their own columns, in a row


def given_columns(text: str | None) -> list[str] | None:
    """The names of --columns: separated by commas, or in a file by commas or lines.

    Raises:
        FunnelError: there is one name only, or a name is blank or repeated.

    Example:
        >>> given_columns("age, income")
        ['age', 'income']
    """
    if text is None:
        return None
    is_file = "," not in text and Path(text).is_file()
    content = Path(text).read_text(encoding="utf-8") if is_file else text
    names = [name.strip() for name in re.split(r"[,\n]", content.strip().rstrip(","))]
    if len(names) < 2:
        raise FunnelError(
            f"--columns {text}: holds one name and is not a file; give names separated by commas, "
            "or a file of them"
        )
    wrong = next((n for n in names if not n or names.count(n) > 1), None)
    if wrong is not None:
        problem = f"'{wrong}' is repeated" if wrong else "a name is blank"
        raise FunnelError(f"--columns: {problem}; give each column a name of its own")
    return names


def check_header(log: Log) -> None:
    """Raises FunnelError where the first line of a CSV file is a row, but no columns are given; or
    where they are given, and do not fit.
    """
    if log.format != "csv":
        return
    found = first_line(log)
    path = log.sources[0].path
    if log.columns is not None:
        if found == log.columns:
            raise FunnelError(f"{path}: has a header of these names; leave --columns out")
        if found and len(found) != len(log.columns):
            raise FunnelError(
                f"{path}: its first line has {len(found)} values, and --columns names "
                f"{len(log.columns)}; name every column, in order"
            )
        return
    numbers = [name for name in found if NUMBER.fullmatch(name)]
    if numbers and numbers != [str(n) for n in range(len(numbers))]:
        raise FunnelError(_no_header(path, found))
    if len(found) == 1:
        raise FunnelError(
            f"{path}: has one column, '{found[0][:60]}', cut by no comma, tab, semicolon or |. "
            "Missing: at least one column to predict from, and one to predict"
        )


def check_names(sample: Sample) -> None:
    """Raises FunnelError where the names of a CSV file are values of its columns."""
    names = list(sample.columns)
    if sample.log.format != "csv" or sample.log.columns is not None or not names:
        return
    among = [
        bool(pc.any(pc.equal(array, name)).as_py())
        for name, array in sample.columns.items()
        if pa.types.is_string(array.type)
    ]
    if sum(among) > REPEATED * len(names):
        raise FunnelError(_no_header(sample.log.sources[0].path, names))


def _no_header(path: str, values: list[str]) -> str:
    shown = ", ".join(values[:5]) + (", …" if len(values) > 5 else "")
    return (
        f"{path}: has no header: its first line '{shown}' looks like a row. Missing: the names of "
        f"its {len(values)} columns; give --columns a,b,c or --columns FILE"
    )
