"""The first rows of CSV and JSON lines, and the types that their values suggest."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError
from pipeline.config import LINE_BYTES, Stream
from pipeline.sources.formats.base import Malformed
from pipeline.sources.formats.csv import header, parse_csv
from pipeline.sources.formats.lines import LineReader, not_blank

SAMPLED = 1000  # lines that decide the types
SEPARATORS = ",\t;|"
CSV_TYPES = {
    "integer": [pa.int64()],
    "number": [pa.float64()],
    "true or false": [pa.bool_()],
    "time": [pa.timestamp("us"), pa.timestamp("us", "UTC")],
}
JSON_TYPES = {bool: "true or false", int: "integer", float: "number", str: "text", dict: "object"}


@dataclass(frozen=True)
class Head:
    """The first rows of a file.

    Args:
        columns: {name: type in words}.
        rows: Values by name.
        notes: What was inferred, and lines that do not parse.
    """

    columns: dict[str, str]
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)


def csv_head(file: pa.NativeFile, stream: Stream, count: int) -> Head:
    """The first rows of a CSV file, as texts. Its separator and whether it has a header are
    inferred from its first line.
    """
    head = list(not_blank(LineReader(file, stream.max_line_bytes).head(), b"\r"))
    lines = [line for _, some, _ in head for line in some]
    if not lines:
        return Head({}, [])
    positions = np.concatenate([some for some, _, _ in head])
    long: list[Malformed] = [row for _, _, some in head for row in some]
    separator = max(SEPARATORS, key=lines[0].decode("utf-8", "replace").count)
    stream = stream.model_copy(update={"separator": separator})
    names, notes = header(lines[0], stream), []
    if separator != ",":
        notes.append(f"separator = {json.dumps(separator)}")
    has_header = not any(_is_number(name) or not name for name in names)
    if not has_header:
        notes.append("its first line seems to hold values: name the columns in `columns`")
        names = [f"column {number}" for number in range(1, len(names) + 1)]
    for name, times in Counter(names).items():
        if times > 1:
            notes.append(f"{times} columns are named '{name}': rename all but one")
    names = _distinct(names)
    first = 1 if has_header else 0
    chosen = slice(first, first + max(SAMPLED, count))
    parsed = parse_csv(
        positions[chosen], lines[chosen], names, dict.fromkeys(names, "text"), stream
    )
    notes += [f"line {at}: {reason}" for at, reason, _ in (long + parsed.malformed)[:3]]
    texts = {name: _texts(parsed.table[name]) for name in names}
    columns = {name: csv_type(column) for name, column in texts.items()}
    shown = pa.table({name: column.slice(0, count) for name, column in texts.items()})
    return Head(columns, shown.to_pylist(), notes)


def csv_type(texts: pa.ChunkedArray) -> str:
    """The type that all texts but empty ones have.

    Example:
        >>> csv_type(pa.chunked_array([["1", "", "20"]])), csv_type(pa.chunked_array([["1", "x"]]))
        ('integer', 'text')
    """
    present = texts.filter(pc.fill_null(pc.not_equal(texts, ""), False))
    if not len(present):
        return "empty"
    for words, types in CSV_TYPES.items():
        for type_ in types:
            try:
                present.cast(type_)
            except pa.ArrowInvalid:
                continue
            return words
    return "text"


def jsonl_head(file: pa.NativeFile, path: str, count: int) -> Head:
    """The first rows of JSON lines, as they are.

    Raises:
        FunnelError: No line is an object.
    """
    rows: list[dict[str, Any]] = []
    head = list(not_blank(LineReader(file, LINE_BYTES).head(), b" \t\r"))
    wrong = [at for _, _, long in head for at, _, _ in long]
    lines = (
        (int(at), line)
        for positions, some, _ in head
        for at, line in zip(positions, some, strict=True)
    )
    for at, line in itertools.islice(lines, max(SAMPLED, count)):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            wrong.append(at)
    if wrong and not rows:
        raise FunnelError(
            f"{path}: no line is a JSON object, as line {wrong[0]}; write one object a line"
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: json_type([row.get(name) for row in rows]) for name in names}
    notes = [f"line {at}: not a JSON object" for at in wrong[:3]]
    return Head(columns, [{name: row.get(name) for name in names} for row in rows[:count]], notes)


def json_type(values: Iterable[Any]) -> str:
    """The types of JSON values, nulls left out.

    Example:
        >>> json_type([1, None, 2.5]), json_type([["a"], []]), json_type([1, "1"])
        ('number', 'list of text', 'integer or text')
        >>> json_type(["2026-11-01T00:49:25Z"])
        'time'
    """
    values = [value for value in values if value is not None]
    lists = [value for value in values if isinstance(value, list)]
    if values and all(isinstance(value, str) for value in values):
        return "time" if csv_type(pa.chunked_array([values])) == "time" else "text"
    found = {JSON_TYPES[type(value)] for value in values if not isinstance(value, list)}
    if lists:
        found.add(f"list of {json_type(itertools.chain.from_iterable(lists))}")
    if {"integer", "number"} <= found:
        found.remove("integer")
    return " or ".join(sorted(found)) or "empty"


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes → texts without spaces around them; bytes that are not UTF-8 are replaced."""
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:
        values = [None if v is None else v.decode("utf-8", "replace") for v in column.to_pylist()]
        texts = pa.chunked_array([values], pa.string())
    return pc.utf8_trim_whitespace(texts)


def _distinct(names: list[str]) -> list[str]:
    """Numbers the second and later columns of one name."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
