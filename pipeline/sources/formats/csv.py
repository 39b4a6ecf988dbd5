"""CSV, every column as bytes: any separator and quote, with or without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv

from pipeline.config import Stream
from pipeline.sources.formats.base import Malformed, ParsedRows
from pipeline.sources.formats.csv_records import UNENDED, RecordJoiner
from pipeline.sources.formats.lines import (
    BYTE_ORDER_MARK,
    Block,
    LineReader,
    TextFile,
    not_blank,
    parse_chunks,
    shown,
)
from pipeline.sources.storage import Source

LONE_RETURN = re.compile(rb"\r(?!\n)")
SURPLUS = 10  # values too many that a reason tells apart, so that reasons are few


class CsvFile(TextFile):
    """A CSV file. A row is one line, or with `multiline` the lines that its quotes hold together;
    its position is that of the first.
    """

    endings = (".csv", ".tsv", ".txt", ".data", ".test")
    strips = True
    options = frozenset({"columns", "separator", "quote", "multiline", "strip"})

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._lines, self._stream = LineReader(file, stream.max_line_bytes), stream

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
        named = self._stream.columns is not None
        header_position = None if named else self._header(by_bytes=start is not None)[0]
        for positions, records, malformed in self._records(self._lines.blocks(start, end)):
            if not named and len(positions) and positions[0] == header_position:
                positions, records = positions[1:], records[1:]
            parsed = parse_csv(positions, records, self.names, columns, self._stream)
            parsed.malformed += malformed
            yield parsed

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """Ranges of bytes, none where quoted values may hold newlines."""
        return [] if stream.multiline else super().ranges(source, stream, piece_bytes)

    def _header(self, *, by_bytes: bool) -> tuple[int | None, bytes | None]:
        """(position, text) of the first record of the file."""
        for positions, records, malformed in self._records(self._lines.head(by_bytes=by_bytes)):
            long = [at for at, reason, _ in malformed if reason == self._lines.too_long]
            if long and not (records and positions[0] < long[0]):
                raise pa.ArrowInvalid(f"its header is {self._lines.too_long}")
            if records:
                return int(positions[0]), records[0]
        return None, None

    def _records(self, blocks: Iterable[Block]) -> Iterator[Block]:
        if self._stream.multiline and self._stream.quote:
            return RecordJoiner(self._stream).records(blocks)
        return not_blank(blocks, b"\r")


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
    malformed, kept = _wrong_counts(positions, lines, len(names), stream)
    if malformed:
        positions, lines = positions[kept], [lines[row] for row in kept.tolist()]
    rows = partial(_rows, names=names, columns=columns, stream=stream)
    try:
        return ParsedRows(rows(lines), positions, malformed)
    except ValueError:
        return _sound(positions, lines, len(names), stream, rows, malformed)


def _wrong_counts(
    positions: np.ndarray, lines: list[bytes], values: int, stream: Stream
) -> tuple[list[Malformed], np.ndarray]:
    """The lines with too few or too many values, and the rows of the others. Lines with quotes are
    left to Arrow.

    pyarrow's invalid_row_handler would find them too, but it fails on a line that is not UTF-8.
    """
    separator, quote = stream.separator.encode(), stream.quote.encode()
    counts = np.fromiter((line.count(separator) for line in lines), int, len(lines)) + 1
    wrong = counts != values
    if quote:
        wrong[wrong] = [quote not in lines[row] for row in np.flatnonzero(wrong)]
    malformed = []
    for row in np.flatnonzero(wrong).tolist():
        count, most = counts[row], values + SURPLUS
        held = f"{count} values" if count <= most else f"more than {most} values"
        malformed.append((int(positions[row]), f"{held}, expected {values}", shown(lines[row])))
    return malformed, np.flatnonzero(~wrong)


def _sound(
    positions: np.ndarray,
    lines: list[bytes],
    values: int,
    stream: Stream,
    rows: Callable[..., pa.Table],
    malformed: list[Malformed],
) -> ParsedRows:
    """The rows of lines of which some are not one row."""
    quote, one_row = stream.quote.encode(), one_row_pattern(values, stream).fullmatch
    good, bad, whole = [], [], []
    for row, line in enumerate(lines):
        found = one_row(line) if (quote and quote in line) or b"\r" in line else True
        if not found:
            bad.append(row)
            continue
        good.append(row)
        ends = found is True or found["open"] is None
        whole.append(line if ends else line + quote)
    tables = [rows([])]
    # One chunk: the pattern knows what Arrow reads. Line by line if Arrow should know better.
    for size in (max(len(whole), 1), 1):
        chunks = list(parse_chunks(whole, partial(rows, checked=True), size))
        if all(table is not None for _, _, table in chunks):
            break
    tables += [table for _, _, table in chunks if table is not None]
    bad = sorted(bad + [good[start] for start, _, table in chunks if table is None])
    reason = f"not {values} values, or {UNENDED}"
    malformed = malformed + [(int(positions[row]), reason, shown(lines[row])) for row in bad]
    return ParsedRows(pa.concat_tables(tables), np.delete(positions, bad), malformed)


def one_row_pattern(values: int, stream: Stream) -> re.Pattern[bytes]:
    """Matches a line, or a record of several lines, that Arrow reads as one row of so many values:
    a quote opens a value at its start only, and outside quotes no line ends. Arrow lets a quote of
    the last value that does not end pass: the group `open`.
    """
    separator, quote = re.escape(stream.separator.encode()), re.escape(stream.quote.encode())
    rest, inside = rb"[^%b\r\n]*+" % separator, rb"(?:[^%b]++|%b%b)*+" % (quote, quote, quote)
    value, open_ = rest, rb"(?!)"
    if quote:
        open_ = quote + inside
        value = rb"(?:%b%b%b|(?!%b)%b)" % (open_, quote, rest, quote, rest)
    return re.compile(
        rb"(?:%b%b){%d}(?:%b|(?P<open>%b))" % (value, separator, values - 1, value, open_)
    )


def _rows(
    lines: list[bytes],
    *,
    names: list[str],
    columns: Mapping[str, str],
    stream: Stream,
    checked: bool = False,
) -> pa.Table:
    """Raises ValueError unless each line, or each record of several lines, is one row. With
    `checked` each line is known to be one row, if it is a row.
    """
    if not lines:
        return pa.table({column: pa.array([], pa.binary()) for column in columns})
    text = b"\n".join(lines)
    # Arrow drops a byte order mark at the start of what it reads. These lines lie inside the file,
    # where it belongs to the value.
    if text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text
    # Arrow ends a row at a carriage return too, so two rows in one line could make up for one in
    # two. With a newline after it, it is in quotes.
    if not checked and b"\r" in text and len(lines) > 1 and LONE_RETURN.search(text):
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
        raise ValueError
    return table
