"""JSON lines: one object a line. A key that a line lacks is a missing value. A line that is not an
object, or has a value of another type than its column, is malformed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.config import Stream
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.json_lines import parse_json
from pipeline.sources.formats.json_types import TYPES, arrow_type
from pipeline.sources.formats.lines import LineReader, TextFile, not_blank

PEEK_LINES = 1000  # from which the types of the columns are inferred
BLANK = b" \t\r"


class JsonlFile(TextFile):
    """A file of JSON lines. The types of its columns are those of its first lines."""

    endings = (".jsonl", ".ndjson", ".json")
    rows_may_lack = True

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._lines = LineReader(file, stream.max_line_bytes)

    @cached_property
    def names(self) -> list[str] | None:
        """Every key of the first lines; None where they hold no object."""
        return sorted({name for row in self._first_rows for name in row}) or None

    def search(self, columns: Collection[str]) -> set[str]:
        """Those of the columns that some line holds."""
        missing = set(columns)
        for _, lines, _ in not_blank(self._lines.blocks(), BLANK):
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
        for positions, lines, long in not_blank(self._lines.blocks(start, end), BLANK):
            # A column that the first lines lack has the type of its first values in the block.
            types = {
                column: kind
                or arrow_type(column, columns[column], islice(_with_key(column, lines), PEEK_LINES))
                or TYPES[columns[column]]
                for column, kind in known.items()
            }
            parsed = parse_json(positions, lines, pa.schema(types.items()), columns)
            parsed.malformed += long
            yield parsed

    @cached_property
    def _first_rows(self) -> list[dict[str, Any]]:
        found = not_blank(self._lines.head(), BLANK)
        lines = islice((line for _, some, _ in found for line in some), PEEK_LINES)
        rows = []
        for line in lines:
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
