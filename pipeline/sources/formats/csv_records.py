"""Lines of a CSV file → records, where a quoted value may hold newlines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.config import Stream
from pipeline.sources.formats.lines import Block, shown

# The most lines that one quoted value may span: beyond, its quote is taken not to end.
RECORD_LINES = 1000
UNENDED = "a quote that does not end"


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
        self.quote, self.longest = stream.quote.encode(), stream.max_line_bytes
        self._opens = re.compile(opening)  # a line that leaves a quote open
        self._stays_open = re.compile(
            rb"%b(?:\Z|%b%b%b%b)" % (inside, quote, rest, separator, opening)
        )

    def records(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yields records with the position of their first line. Blank lines between records are
        left out; the first line of a value that never ends is malformed, as of one that a line
        that is too long interrupts.
        """
        positions, breaks = np.arange(0), np.arange(0)
        lines: list[bytes] = []
        for more_positions, more_lines, long in blocks:
            positions, lines = np.concatenate([positions, more_positions]), lines + more_lines
            breaks = np.concatenate([breaks, [at for at, _, _ in long]])
            used, (starts, records, malformed) = self._join(positions, lines, breaks, last=False)
            yield starts, records, malformed + long
            positions, lines = positions[used:], lines[used:]
            breaks = breaks[breaks > positions[0]] if lines else breaks[:0]
        yield self._join(positions, lines, breaks, last=True)[1]

    def _join(
        self, positions: np.ndarray, lines: list[bytes], breaks: np.ndarray, *, last: bool
    ) -> tuple[int, Block]:
        """(number of lines used, records). The lines of a record that is still open stay unused,
        unless they are the `last`. No record goes beyond one of the positions `breaks`.
        """
        starts, records, malformed, row = [], [], [], 0
        ends = _Ends(self, lines, np.searchsorted(positions, breaks), last=last)
        while row < len(lines):
            end = ends.after(row)
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

    def opens(self, line: bytes) -> bool:
        """Whether a line leaves a quote open."""
        return self.quote in line and bool(self._opens.match(line))

    def closes(self, line: bytes) -> bool:
        """Whether a line that begins inside quotes leaves none open."""
        return self.quote in line and not self._stays_open.match(line)


class _Ends:
    """Where the records of some lines end. Each line is looked at twice at most, however many
    quotes never end.
    """

    def __init__(
        self, joiner: RecordJoiner, lines: list[bytes], breaks: np.ndarray, *, last: bool
    ) -> None:
        self._joiner, self._lines, self._last = joiner, lines, last
        self._breaks: list[int] = [*breaks.tolist(), len(lines) + RECORD_LINES]
        self._sizes = np.cumsum([0, *map(len, lines)])
        self._close = 0  # no line from the row that was asked last to the one before it closes

    def after(self, row: int) -> int | None:
        """The row after the record that begins at `row`; `row` itself if the record never ends;
        None if its end has not been read yet.
        """
        if not self._joiner.opens(self._lines[row]):
            return row + 1
        limit = self._limit(row)
        self._close = max(self._close, row + 1)
        while self._close < min(limit, len(self._lines)):
            if self._joiner.closes(self._lines[self._close]):
                return self._close + 1
            self._close += 1
        return row if self._last or limit <= len(self._lines) else None

    def _limit(self, row: int) -> int:
        """The row that no record beginning at `row` reaches."""
        most = int(self._sizes[row]) + self._joiner.longest
        beyond = int(np.searchsorted(self._sizes, most, "right"))
        by_size = beyond - 1 if beyond < len(self._sizes) else row + RECORD_LINES
        by_break = self._breaks[bisect_right(self._breaks, row)]
        return min(row + RECORD_LINES, by_size, by_break)
