"""CSV, every column as bytes: any separator and quote, with or without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv

from pipeline.config import Stream
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.csv_records import UNENDED, RecordJoiner, Records
from pipeline.sources.formats.lines import (
    BYTE_ORDER_MARK,
    Block,
    LineReader,
    TextFile,
    not_blank,
    parse_lines,
    shown,
)
from pipeline.sources.storage import Source

LONE_RETURN = re.compile(rb"\r(?!\n)")


class CsvFile(TextFile):
    """A CSV file. A row is one line, or with `multiline` the lines that its quotes hold together;
    its position is that of the first.
    """

    endings = (".csv", ".tsv", ".txt", ".data", ".test")
    strips = True
    options = frozenset({"columns", "separator", "quote", "multiline", "strip"})

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._lines, self._stream = LineReader(file), stream

    @cached_property
    def names(self) -> list[str] | None:
        if self._stream.columns is not None:
            return self._stream.columns
        _, line = self._header(by_bytes=False)
        return None if line is None else header(line, self._stream)

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields blocks of the rows that begin in [start, end)."""
        if self.names is None:
            return
        header_position, _ = self._header(by_bytes=start is not None)
        for positions, records, unended in self._records(self._lines.blocks(start, end)):
            if self._stream.columns is None and len(positions) and positions[0] == header_position:
                positions, records = positions[1:], records[1:]
            parsed = parse_csv(positions, records, self.names, columns, self._stream)
            parsed.malformed += unended
            yield parsed

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """Ranges of bytes, none where quoted values may hold newlines."""
        return [] if stream.multiline else super().ranges(source, stream, piece_bytes)

    def _header(self, *, by_bytes: bool) -> tuple[int | None, bytes | None]:
        """(position, text) of the first record of the file."""
        for positions, records, _ in self._records([self._lines.head(by_bytes=by_bytes)]):
            if records:
                return int(positions[0]), records[0]
        return None, None

    def _records(self, blocks: Iterable[Block]) -> Iterator[Records]:
        if self._stream.multiline and self._stream.quote:
            return RecordJoiner(self._stream).records(blocks)
        return ((positions, lines, []) for positions, lines in not_blank(blocks, b"\r"))


def header(line: bytes, stream: Stream) -> list[str]:
    """The column names that a header holds."""
    text = line.decode("utf-8", "replace")
    if stream.quote:
        rows = csv.reader([text], delimiter=stream.separator, quotechar=stream.quote)
    else:
        rows = csv.reader([text], delimiter=stream.separator, quoting=csv.QUOTE_NONE)
    names = next(rows)
    return [name.strip() for name in names] if stream.strip else names


def parse_csv(
    positions: np.ndarray,
    lines: list[bytes],
    names: list[str],
    columns: Mapping[str, str],
    stream: Stream,
) -> ParsedRows:
    """Parses the requested `columns` of lines that hold `names`. Lines with too few or too many
    values are malformed.
    """
    wrong = _wrong_counts(lines, len(names), stream)
    kept = [line for row, line in enumerate(lines) if row not in wrong] if wrong else lines
    parsed = parse_lines(
        np.delete(positions, list(wrong)),
        kept,
        partial(_rows, names=names, columns=columns, stream=stream),
    )
    parsed.malformed += [
        (int(positions[row]), reason, shown(lines[row])) for row, reason in wrong.items()
    ]
    return parsed


def _wrong_counts(lines: list[bytes], values: int, stream: Stream) -> dict[int, str]:
    """Row → reason, of the lines with too few or too many values; lines with quotes are left to
    Arrow.

    pyarrow's invalid_row_handler would find them too, but it fails on a line that is not UTF-8.
    """
    separator, quote = stream.separator.encode(), stream.quote.encode()
    counts = np.fromiter((line.count(separator) for line in lines), int, len(lines)) + 1
    wrong = [
        int(row) for row in np.flatnonzero(counts != values) if not quote or quote not in lines[row]
    ]
    return {row: f"{counts[row]} values, expected {values}" for row in wrong}


def _rows(
    lines: list[bytes], *, names: list[str], columns: Mapping[str, str], stream: Stream
) -> pa.Table:
    """Raises ValueError unless each line, or each record of several lines, is one row."""
    if not lines:
        return pa.table({column: pa.array([], pa.binary()) for column in columns})
    text = b"\n".join(lines)
    # Arrow drops a byte order mark at the start of what it reads. These lines lie inside the file,
    # where it belongs to the value.
    if text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text
    # Arrow ends a row at a carriage return too, so two rows in one line could make up for one in
    # two. With a newline after it, it is in quotes.
    if b"\r" in text and len(lines) > 1 and LONE_RETURN.search(text):
        raise ValueError
    try:
        table = pc_csv.read_csv(
            pa.BufferReader(text),
            read_options=pc_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=names
            ),
            parse_options=pc_csv.ParseOptions(
                delimiter=stream.separator,
                quote_char=stream.quote or False,
                ignore_empty_lines=False,
                newlines_in_values=stream.multiline,
            ),
            convert_options=pc_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                include_columns=list(columns),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        table = None
    if table is None or len(table) != len(lines):
        raise ValueError(f"not {len(names)} values, or {UNENDED}")
    return table
