"""JSON lines: one object a line. A key that a line lacks is a missing value. A line that is not an
object, or has a value of another type than its column, is malformed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pc_json

from features.arrays import ARROW_TYPES
from pipeline.arrow import NOUNS
from pipeline.config import Stream
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.json_types import (
    AS_TEXTS,
    TYPES,
    UNSIGNED,
    arrow_type,
    replaced,
)
from pipeline.sources.formats.lines import LineReader, TextFile, not_blank, parse_lines

PEEK_LINES = 1000  # from which the types of the columns are inferred
BLANK = b" \t\r"
# Of columns of texts, by the type that their first lines have.
TYPE_NOUNS = {ARROW_TYPES[raw_type]: NOUNS[raw_type] for raw_type in ("text", "integer", "number")}
TYPE_NOUNS |= {pa.bool_(): "true or false", pa.uint64(): NOUNS["integer"]}
LONG = re.compile(rb"\d{19}")  # perhaps beyond int64


class JsonlFile(TextFile):
    """A file of JSON lines. The types of its columns are those of its first lines."""

    endings = (".jsonl", ".ndjson", ".json")
    rows_may_lack = True

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._lines = LineReader(file)

    @cached_property
    def names(self) -> list[str] | None:
        """Every key of the first lines; None where they hold no object."""
        return sorted({name for row in self._first_rows for name in row}) or None

    def search(self, columns: Collection[str]) -> set[str]:
        """Those of the columns that some line holds."""
        missing = set(columns)
        for _, lines in not_blank(self._lines.blocks(), BLANK):
            for column in sorted(missing):
                if next(_with_key(column, lines), None) is not None:
                    missing.remove(column)
            if not missing:
                break
        return set(columns) - missing

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields blocks of the rows that begin in [start, end)."""
        known = {
            column: arrow_type(column, raw_type, self._first_rows)
            for column, raw_type in columns.items()
        }
        for positions, lines in not_blank(self._lines.blocks(start, end), BLANK):
            # A column that the first lines lack has the type of its first values in the block.
            types = {
                column: kind
                or arrow_type(column, columns[column], islice(_with_key(column, lines), PEEK_LINES))
                or TYPES[columns[column]]
                for column, kind in known.items()
            }
            yield _parse(positions, lines, pa.schema(types.items()), columns)

    @cached_property
    def _first_rows(self) -> list[dict[str, Any]]:
        rows = []
        for _, lines in not_blank([self._lines.head()], BLANK):
            for line in lines[:PEEK_LINES]:
                try:
                    rows.append(json.loads(line))
                except (ValueError, RecursionError):
                    continue
        return [row for row in rows if isinstance(row, dict)]


def _with_key(column: str, lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the objects of the lines that have a key, as writers spell it."""
    spelled = {json.dumps(column, ensure_ascii=ascii_).encode() for ascii_ in (True, False)}
    for line in lines:
        if any(key in line for key in spelled):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and column in row:
                yield row


def _parse(
    positions: np.ndarray, lines: list[bytes], schema: pa.Schema, columns: Mapping[str, str]
) -> ParsedRows:
    try:
        return ParsedRows(_objects(lines, schema), positions)
    except (ValueError, pa.ArrowException):
        if any(map(LONG.search, lines)):
            schema = replaced(schema, _texts(columns), UNSIGNED)
        parsed = parse_lines(positions, lines, partial(_rows, schema=schema, columns=columns))
        return _with_mixed(parsed, positions, lines, columns)


def _texts(columns: Mapping[str, str]) -> set[str]:
    return {column for column, raw_type in columns.items() if raw_type in ("text", "texts")}


def _with_mixed(
    parsed: ParsedRows, positions: np.ndarray, lines: list[bytes], columns: Mapping[str, str]
) -> ParsedRows:
    """The parsed rows, and those of the malformed lines that hold valid texts: whole numbers of any
    size and texts in one column.
    """
    schema = replaced(parsed.table.schema, _texts(columns), AS_TEXTS)
    if not parsed.malformed or schema == parsed.table.schema:
        return parsed
    tables, added, malformed = [parsed.table.cast(schema)], [], []
    for bad in parsed.malformed:
        try:
            tables.append(_row(lines[int(np.searchsorted(positions, bad[0]))], schema, columns))
            added.append(bad[0])
        except ValueError:
            malformed.append(bad)
    if not added:
        return parsed
    at = np.concatenate([parsed.positions, np.array(added, parsed.positions.dtype)])
    order = np.argsort(at)
    return ParsedRows(pa.concat_tables(tables).take(pa.array(order)), at[order], malformed)


def _rows(lines: list[bytes], *, schema: pa.Schema, columns: Mapping[str, str]) -> pa.Table:
    """Raises ValueError unless each line is one object of the columns' types."""
    try:
        return _objects(lines, schema) if lines else schema.empty_table()
    except (ValueError, pa.ArrowException):
        if len(lines) > 1:
            raise
        return _row(lines[0], schema, columns)


def _objects(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    # Then no object spans two lines, and as many rows as lines means one row in each.
    if not all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        raise ValueError("a line that is not an object")
    text = b"\n".join(lines)
    table = pc_json.read_json(
        pa.BufferReader(text),
        read_options=pc_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pc_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    )
    if len(table) != len(lines):
        raise ValueError("two objects in one line")
    return table


def _row(line: bytes, schema: pa.Schema, columns: Mapping[str, str]) -> pa.Table:
    """One line by itself. Its types may differ from those of the first lines: whole numbers are
    read as text, and texts as numbers, but not in columns of texts.
    """
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    arrays, texts = [], _texts(columns)
    for column in schema:
        try:
            value = _fit(row.get(column.name), column.type, numbers=column.name not in texts)
            arrays.append(pa.array([value], column.type))
        except (ValueError, OverflowError, pa.ArrowException):
            held = TYPE_NOUNS.get(column.type, "a list of one type")
            noun = held if column.name in texts else NOUNS[columns[column.name]]
            raise ValueError(f"{column.name} is not {noun}") from None
    return pa.table(arrays, schema)


def _fit(value: object, type_: pa.DataType, *, numbers: bool) -> object:
    """A JSON value in a column's type; with `numbers` a text may hold a number. Raises ValueError
    where it does not fit.
    """
    exact = {pa.int64(): int, pa.uint64(): int, pa.bool_(): bool, pa.string(): str}
    if value is None or type(value) is exact.get(type_):
        return value
    if pa.types.is_list(type_) and isinstance(value, list):
        return [_fit(one, type_.value_type, numbers=numbers) for one in value]
    if pa.types.is_string(type_) and isinstance(value, int):
        return json.dumps(value)  # true and false, as Arrow casts them
    if numbers and type_ in (pa.int64(), pa.float64()) and isinstance(value, str):
        return pa.scalar(value or None, pa.string()).cast(type_).as_py()
    if pa.types.is_float64(type_) and isinstance(value, int | float):
        return float(value)
    raise ValueError
