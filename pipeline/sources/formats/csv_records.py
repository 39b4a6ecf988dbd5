"""Lines of a CSV file → records, where a quoted value may hold newlines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.config import Stream
from pipeline.sources.formats.base import Malformed
from pipeline.sources.formats.lines import Block, shown

# The most that one quoted value may span: beyond, its quote is taken not to end.
RECORD_LINES = 1000
RECORD_BYTES = 1 << 20
UNENDED = "a quote that does not end"

Records = tuple[np.ndarray, list[bytes], list[Malformed]]  # [n] positions, n records, malformed


class RecordJoiner:
    """Joins the lines of each record.

    A quote opens a value at the value's start only; two quotes in a row inside it stand for one.
    """

    def __init__(self, stream: Stream) -> None:
        quote, separator = (re.escape(c.encode()) for c in (stream.quote, stream.separator))
        inside = b"(?:[^%b]++|%b%b)*+" % (quote, quote, quote)
        rest = b"[^%b]*+" % separator
        value = b"(?:%b%b%b%b|(?!%b)%b)" % (quote, inside, quote, rest, quote, rest)
        opening = rb"(?:%b%b)*+%b%b\Z" % (value, separator, quote, inside)
        self._quote = stream.quote.encode()
        self._opens = re.compile(opening)  # a line that leaves a quote open
        self._stays_open = re.compile(
            rb"%b(?:\Z|%b%b%b%b)" % (inside, quote, rest, separator, opening)
        )

    def records(self, blocks: Iterable[Block]) -> Iterator[Records]:
        """Yields records with the position of their first line. Blank lines between records are
        left out; the first line of a value that never ends is malformed.
        """
        positions = np.arange(0)
        lines: list[bytes] = []
        for more_positions, more_lines in blocks:
            positions, lines = np.concatenate([positions, more_positions]), lines + more_lines
            used, records = self._join(positions, lines, last=False)
            yield records
            positions, lines = positions[used:], lines[used:]
        yield self._join(positions, lines, last=True)[1]

    def _join(
        self, positions: np.ndarray, lines: list[bytes], *, last: bool
    ) -> tuple[int, Records]:
        """(number of lines used, records). The lines of a record that is still open stay unused,
        unless they are the `last`.
        """
        starts, records, malformed, row = [], [], [], 0
        while row < len(lines):
            end = self._end(lines, row, last=last)
            if end is None:
                break
            record = b"\n".join(lines[row : max(end, row + 1)]).strip(b"\r")
            if end == row:
                malformed.append((int(positions[row]), UNENDED, shown(record)))
            elif record:
                starts.append(row)
                records.append(record)
            row = max(end, row + 1)
        return row, (positions[starts], records, malformed)

    def _end(self, lines: list[bytes], row: int, *, last: bool) -> int | None:
        """The row after the record that begins at `row`; `row` itself if the record never ends;
        None if its end has not been read yet.
        """
        if self._quote not in lines[row] or not self._opens.match(lines[row]):
            return row + 1
        size = len(lines[row])
        for at in range(row + 1, len(lines)):
            size += len(lines[at])
            if at - row >= RECORD_LINES or size > RECORD_BYTES:
                return row
            if self._quote in lines[at] and not self._stays_open.match(lines[at]):
                return at + 1
        return row if last else None
