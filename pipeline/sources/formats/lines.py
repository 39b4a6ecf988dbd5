"""Text files → blocks of lines with their positions: line numbers, or byte offsets where a range of
the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.config import Stream
from pipeline.sources.formats.base import LogFile, Malformed
from pipeline.sources.storage import Source

BLOCK_BYTES = 8 << 20
BLOCK_LINES = 1 << 18  # of the shortest lines, which take most memory
HEAD_BYTES = 1 << 20  # of every file, from which its columns and their types are inferred
SCAN_BYTES = 1 << 16
COMPRESSED = 50  # bytes that a compressed byte is taken to hold at most
SHORTEST, SHORTEST_TIMED = 2, 12  # bytes of a row: of a digit; of an id and a time
SHOWN = 200  # characters of a line or value that a reject shows
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Block = tuple[np.ndarray, list[bytes], list[Malformed]]  # [n] positions, n lines, malformed


class TextFile(LogFile):
    """A format whose rows are lines, read in ranges of bytes unless the file is compressed."""

    head: ClassVar[tuple[int, int] | None] = (0, HEAD_BYTES)
    bytes_in_ranges = True

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """Ranges of bytes. A row belongs to the range in which its line begins."""
        if source.compression != "none":
            return []
        starts = range(0, source.size, piece_bytes)
        return [(start, min(start + piece_bytes, source.size)) for start in starts]

    @classmethod
    def most_rows(
        cls, source: Source, stream: Stream, start: int | None = None, end: int | None = None
    ) -> float:
        """The bytes of the range over those of the shortest valid row."""
        size = source.size if start is None or end is None else end - start
        held = size * (1 if source.compression == "none" else COMPRESSED)
        return held // (SHORTEST if stream.time is None else SHORTEST_TIMED) + 1


class _Lines(NamedTuple):
    """Consecutive lines; of one that is too long only the beginning is held.

    Attributes:
        number: that of the first line, from 1.
        offsets: [n] where they begin.
        lines: n lines.
        long: the rows of those that are too long.
        end: where the next line begins, or the rest of one that is too long.
    """

    number: int
    offsets: np.ndarray
    lines: list[bytes]
    long: list[int]
    end: int


class LineReader:
    """Reads the lines of a text file, its head first, in bounded memory.

    Every range of a file is read with the columns and types that the head implies. The head is
    HEAD_BYTES, and at least one line that is not blank.

    Args:
        file: the file, at its start.
        longest: bytes; a longer line is malformed, and only its beginning is held.
    """

    def __init__(self, file: pa.NativeFile, longest: int) -> None:
        self._file, self._longest, self._size = file, longest, 0
        self._rest = _cut(self._chunks(HEAD_BYTES), 0, longest)
        self._head: list[_Lines] = []
        for block in self._rest:
            if self._head or any(line.strip(b"\r") for line in block.lines):
                self._head.append(block)
                if self._size >= HEAD_BYTES:
                    break

    @property
    def too_long(self) -> str:
        """Why a line that is too long is malformed."""
        return f"longer than max_line_bytes = {self._longest}"

    def head(self, *, by_bytes: bool = False) -> list[Block]:
        """The whole lines of the head."""
        return [self._block(block, by_bytes=by_bytes) for block in self._head]

    def blocks(self, start: int | None = None, end: int | None = None) -> Iterator[Block]:
        """The lines that begin in [start, end), by their offsets; without a start all of them, by
        their numbers.
        """
        found: Iterator[_Lines] = chain(self._head, self._rest)
        if start:
            first = self._next_line(start, end)
            if end is not None and first >= end:
                return
            found = _cut(self._chunks(BLOCK_BYTES), first, self._longest)
        for block in found:
            inside = len(block.lines)
            if end is not None:
                inside = int(np.searchsorted(block.offsets, end))
            for at in range(0, inside, BLOCK_LINES):
                rows = slice(at, min(at + BLOCK_LINES, inside))
                yield self._block(block, rows, by_bytes=start is not None)
            if end is not None and block.end >= end:
                return

    def _block(self, found: _Lines, rows: slice | None = None, *, by_bytes: bool) -> Block:
        positions = found.offsets if by_bytes else found.number + np.arange(len(found.lines))
        lines, long = found.lines, found.long
        if rows is not None:
            positions, lines = positions[rows], lines[rows]
            long = [row - rows.start for row in long if rows.start <= row < rows.stop]
        if not long:
            return positions, lines, []
        malformed = [(int(positions[row]), self.too_long, shown(lines[row])) for row in long]
        kept = np.delete(np.arange(len(lines)), long)
        return positions[kept], [lines[row] for row in kept], malformed

    def _chunks(self, first: int) -> Iterator[bytes]:
        while chunk := self._file.read(BLOCK_BYTES if self._head else first):
            self._size += len(chunk)
            yield chunk

    def _next_line(self, at: int, end: int | None) -> int:
        """Moves to the first line that begins at `at` or later, unless that is beyond `end`."""
        at -= 1
        self._file.seek(at)
        while (end is None or at < end) and (block := self._file.read(SCAN_BYTES)):
            newline = int(block.find(b"\n"))
            if newline >= 0:
                self._file.seek(at + newline + 1)
                return at + newline + 1
            at += len(block)
        return at


def _cut(chunks: Iterator[bytes], at: int, longest: int) -> Iterator[_Lines]:
    """Cuts chunks, which begin at the offset `at`, into lines. The rest of a line that is too long
    is left out as it is read.
    """
    pending: list[bytes] = []  # of a line whose end has not been read yet
    held, number, skipping = 0, 1, False
    for chunk in chain(chunks, [None]):
        if skipping and chunk is not None:
            rest, newline, chunk = chunk.partition(b"\n")
            at, skipping = at + len(rest) + len(newline), not newline
        if skipping:
            continue
        if chunk and b"\n" not in chunk and held + len(chunk) <= longest:
            pending.append(chunk)
            held += len(chunk)
            continue
        lines = b"".join([*pending, chunk or b""]).split(b"\n")
        skipping = chunk is not None and len(lines[-1]) > longest
        pending = [lines.pop()] if chunk is not None and not skipping else []
        held = sum(map(len, pending))
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        ends = at + np.cumsum(lengths + 1)
        offsets = ends - lengths - 1
        long = np.flatnonzero(lengths > longest).tolist()
        for row in long:
            lines[row] = lines[row][: 4 * SHOWN]  # a character takes at most four bytes
        if at == 0 and lines:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        if lines:
            at = int(ends[-1]) - skipping
            yield _Lines(number, offsets, lines, long, at)
            number += len(lines)


def not_blank(blocks: Iterable[Block], blank: bytes) -> Iterator[Block]:
    """Strips the bytes `blank` from each line and leaves out the lines that are then empty."""
    for positions, lines, malformed in blocks:
        stripped = [line.strip(blank) for line in lines]
        kept = np.flatnonzero(np.fromiter(map(len, stripped), int, len(stripped)))
        if len(kept) or malformed:
            yield positions[kept], [line for line in stripped if line], malformed


def shown(line: bytes) -> str:
    """A line as a reject shows it.

    Example:
        >>> shown(b"x" * 1000) == "x" * 200
        True
    """
    return line[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN]


def parse_chunks(
    lines: list[bytes], parse: Callable[[list[bytes]], pa.Table], size: int
) -> Iterator[tuple[int, int, pa.Table | None]]:
    """Parses `size` lines at a time.

    Yields:
        (start, end, their table), in order; None for the table of lines that did not parse.
    """
    for start in range(0, len(lines), size):
        end = min(start + size, len(lines))
        try:
            yield start, end, parse(lines[start:end])
        except (ValueError, pa.ArrowException):
            yield start, end, None
