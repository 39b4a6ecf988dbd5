"""CSV, every column as bytes: any separator and quote, with or without a header, and quoted values
that hold newlines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv

from pipeline.config import Stream
from pipeline.sources.formats.lines import (
    BYTE_ORDER_MARK,
    Block,
    Raw,
    Text,
    not_blank,
    parse_lines,
    shown,
)

RECORD_LINES, RECORD_BYTES = (
    1000,
    1 << 20,
)  # the most that one quoted value may span: beyond, its quote does not end
UNENDED = "a quote that does not end"
LONE_RETURN = re.compile(rb"\r(?!\n)")


class CsvFile:
    """A CSV file. A row is one line, or with `multiline` the lines that its quotes hold together;
    its place is the first's.
    """

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._text, self._stream = Text(file), stream

    @cached_property
    def names(self) -> list[str] | None:
        """The columns; None of an empty file."""
        if self._stream.columns is not None:
            return self._stream.columns
        _, line = self._header(by_bytes=False)
        return None if line is None else header(line, self._stream)

    def read(
        self, wanted: dict[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[Raw]:
        """Blocks of rows that begin in [start, end)."""
        if self.names is None:
            return
        place, _ = self._header(by_bytes=start is not None)
        for places, records, unended in self._records(self._text.blocks(start, end)):
            if self._stream.columns is None and len(places) and places[0] == place:
                places, records = places[1:], records[1:]
            raw = parse_csv(places, records, self.names, wanted, self._stream)
            raw.malformed += unended
            yield raw

    def _header(self, *, by_bytes: bool) -> tuple[int | None, bytes | None]:
        """(place, text) of the first record of the file."""
        for places, records, _ in self._records([self._text.head(by_bytes=by_bytes)]):
            if records:
                return int(places[0]), records[0]
        return None, None

    def _records(
        self, blocks: Iterable[Block]
    ) -> Iterator[tuple[np.ndarray, list[bytes], list[tuple[int, str, str]]]]:
        if self._stream.multiline and self._stream.quote:
            return Gather(self._stream).records(blocks)
        return ((places, lines, []) for places, lines in not_blank(blocks, b"\r"))


def header(line: bytes, stream: Stream) -> list[str]:
    quoting = {"quotechar": stream.quote} if stream.quote else {"quoting": csv.QUOTE_NONE}
    names = next(
        csv.reader([line.decode("utf-8", "replace")], delimiter=stream.separator, **quoting)
    )
    return [name.strip() for name in names] if stream.strip else names


def parse_csv(
    places: np.ndarray, lines: list[bytes], names: list[str], wanted: dict[str, str], stream: Stream
) -> Raw:
    """Rows of the wanted columns. Lines with too few or too many values are malformed."""
    wrong = _wrong_counts(lines, len(names), stream)
    kept = [line for row, line in enumerate(lines) if row not in wrong] if wrong else lines
    raw = parse_lines(
        np.delete(places, list(wrong)),
        kept,
        partial(_rows, names=names, wanted=wanted, stream=stream),
    )
    raw.malformed += [(int(places[row]), why, shown(lines[row])) for row, why in wrong.items()]
    return raw


def _wrong_counts(lines: list[bytes], values: int, stream: Stream) -> dict[int, str]:
    """Row → why, of the lines with too few or too many values. Those with quotes are left to Arrow."""
    mark, quote = stream.separator.encode(), stream.quote.encode()
    counts = np.fromiter((line.count(mark) for line in lines), int, len(lines)) + 1
    wrong = [
        int(row) for row in np.flatnonzero(counts != values) if not quote or quote not in lines[row]
    ]
    return {row: f"{counts[row]} values, expected {values}" for row in wrong}


def _rows(
    lines: list[bytes], *, names: list[str], wanted: dict[str, str], stream: Stream
) -> pa.Table:
    """Raises ValueError unless each line, or each multi-line record, is one row."""
    if not lines:
        return pa.table({column: pa.array([], pa.binary()) for column in wanted})
    text = b"\n".join(lines)
    if text.startswith(
        BYTE_ORDER_MARK
    ):  # inside the file it belongs to a value, but Arrow drops one at the start of what it reads
        text = BYTE_ORDER_MARK + text
    # Arrow ends a row at a carriage return too: two rows in one line could make up for one in two.
    # With a newline it is in quotes.
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
                include_columns=list(wanted),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        table = None
    if table is None or len(table) != len(lines):
        raise ValueError(f"not {len(names)} values, or {UNENDED}")
    return table


class Gather:
    """Physical lines → records. A quote opens at the start of a value only, and two in a row within
    it stand for one.
    """

    def __init__(self, stream: Stream) -> None:
        quote, mark = re.escape(stream.quote.encode()), re.escape(stream.separator.encode())
        inside = rb"(?:[^" + quote + rb"]++|" + quote * 2 + rb")*+"
        value = (
            rb"(?:"
            + quote
            + inside
            + quote
            + rb"[^"
            + mark
            + rb"]*+|(?!"
            + quote
            + rb")[^"
            + mark
            + rb"]*+)"
        )
        opening = rb"(?:" + value + mark + rb")*+" + quote + inside + rb"\Z"
        self._quote = stream.quote.encode()
        self._opens = re.compile(opening)
        self._goes_on = re.compile(
            inside + rb"(?:\Z|" + quote + rb"[^" + mark + rb"]*+" + mark + opening + rb")"
        )

    def records(
        self, blocks: Iterable[Block]
    ) -> Iterator[tuple[np.ndarray, list[bytes], list[tuple[int, str, str]]]]:
        """(places, records, the first lines of values that never end as malformed). Blank lines
        between records are left out.
        """
        places, lines = np.arange(0), []
        for more_places, more_lines in blocks:
            places, lines = np.concatenate([places, more_places]), lines + more_lines
            taken, *result = self._join(places, lines, last=False)
            yield result
            places, lines = places[taken:], lines[taken:]
        yield self._join(places, lines, last=True)[1:]

    def _join(self, places: np.ndarray, lines: list[bytes], *, last: bool) -> tuple:
        """(number of lines used, places, records, malformed). Unless they are the last, lines of an
        open record stay unused.
        """
        starts, records, malformed, row = [], [], [], 0
        while row < len(lines):
            end = self._end(lines, row, last=last)
            if end is None:
                break
            record = b"\n".join(lines[row : max(end, row + 1)]).strip(b"\r")
            if end == row:
                malformed.append((int(places[row]), UNENDED, shown(record)))
            elif record:
                starts.append(row)
                records.append(record)
            row = max(end, row + 1)
        return row, places[starts], records, malformed

    def _end(self, lines: list[bytes], row: int, *, last: bool) -> int | None:
        """The row after the record that begins at `row`; `row` itself if it never ends; None if
        that is not known yet.
        """
        if self._quote not in lines[row] or not self._opens.match(lines[row]):
            return row + 1
        size = len(lines[row])
        for at in range(row + 1, len(lines)):
            size += len(lines[at])
            if at - row >= RECORD_LINES or size > RECORD_BYTES:
                return row
            if self._quote in lines[at] and not self._goes_on.match(lines[at]):
                return at + 1
        return row if last else None
