"""JSON lines: one object a line. A line that is not an object, or has a value of another type than
its column, is malformed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.json as pc_json

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from pipeline.arrow import NOUNS
from pipeline.config import Stream
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.lines import LineReader, TextFile, not_blank, parse_lines

PEEK_LINES = 1000  # from which the types of the columns are inferred
BLANK = b" \t\r"
TYPE_NOUNS = {ARROW_TYPES[raw_type]: NOUNS[raw_type] for raw_type in ("text", "integer", "number")}
TYPE_NOUNS[pa.bool_()] = "true or false"
TYPES = ARROW_TYPES | {"time": pa.float64()}  # a time may have a fraction


class JsonlFile(TextFile):
    """A file of JSON lines. The types of its columns are those of its first lines."""

    endings = (".jsonl", ".ndjson", ".json")

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._lines = LineReader(file)

    @cached_property
    def names(self) -> list[str] | None:
        """Every key of the first lines; None where they hold no object."""
        return sorted({name for row in self._first_rows for name in row}) or None

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields blocks of the rows that begin in [start, end)."""
        schema = pa.schema(
            [(column, self._type(column, raw_type)) for column, raw_type in columns.items()]
        )
        for positions, lines in not_blank(self._lines.blocks(start, end), BLANK):
            yield parse_lines(positions, lines, partial(_rows, schema=schema))

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

    def _type(self, column: str, raw_type: str) -> pa.DataType:
        """The Arrow type of a column: that of its raw type if some value has it, else that of the
        first value.

        Arrow's own inference turns texts that look like dates into times, which would change their
        hash.
        """
        own = TYPES[raw_type]
        found = [
            _arrow_type(row[column], raw_type)
            for row in self._first_rows
            if row.get(column) not in (None, [])
        ]
        chosen = own if own in found or not found else found[0]
        if pa.types.is_struct(chosen):
            raise FunnelError(
                f"column '{column}' holds JSON objects: name a column of texts, numbers or lists"
            )
        return chosen


def _arrow_type(value: object, raw_type: str) -> pa.DataType:
    if isinstance(value, list):
        first = next((v for v in value if v is not None), "")
        return pa.list_(_arrow_type(first, "number" if raw_type == "numbers" else "text"))
    if isinstance(value, dict):
        return pa.struct([])
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float):
        fractional = raw_type in ("number", "time") or isinstance(value, float)
        return pa.float64() if fractional else pa.int64()
    return pa.string()


def _rows(lines: list[bytes], *, schema: pa.Schema) -> pa.Table:
    """Raises ValueError unless each line is one object of the columns' types."""
    try:
        return _objects(lines, schema) if lines else schema.empty_table()
    except (ValueError, pa.ArrowException):
        if len(lines) > 1:
            raise
        return _row(lines[0], schema)


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


def _row(line: bytes, schema: pa.Schema) -> pa.Table:
    """One line by itself. Its types may differ from those of the first lines: whole numbers are
    read as text, and texts as numbers.
    """
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    arrays = []
    for column in schema:
        try:
            arrays.append(pa.array([_fit(row.get(column.name), column.type)], column.type))
        except (ValueError, OverflowError, pa.ArrowException):
            raise ValueError(
                f"{column.name} is not {TYPE_NOUNS.get(column.type, 'a list of one type')}"
            ) from None
    return pa.table(arrays, schema)


def _fit(value: object, type_: pa.DataType) -> object:
    """A JSON value in a column's type. Raises ValueError where it does not fit."""
    exact = {pa.int64(): int, pa.bool_(): bool, pa.string(): str}
    if value is None or type(value) is exact.get(type_):
        return value
    if pa.types.is_list(type_) and isinstance(value, list):
        return [_fit(one, type_.value_type) for one in value]
    if pa.types.is_string(type_) and type(value) is int:
        return str(value)
    if type_ in (pa.int64(), pa.float64()) and isinstance(value, str):
        return pa.scalar(value or None, pa.string()).cast(type_).as_py()
    if pa.types.is_float64(type_) and isinstance(value, int | float):
        return float(value)
    raise ValueError
