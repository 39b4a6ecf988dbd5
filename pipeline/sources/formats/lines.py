"""Text files → blocks of lines with their positions: line numbers, or byte offsets where a range of
the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.config import Stream
from pipeline.sources.formats.base import LogFile, Malformed, ParsedRows
from pipeline.sources.storage import Source

BLOCK_BYTES = 8 << 20
HEAD_BYTES = 1 << 20  # of every file, from which its columns and their types are inferred
SCAN_BYTES = 1 << 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Block = tuple[np.ndarray, list[bytes]]  # [n] positions, n lines


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


class LineReader:
    """Reads the lines of a text file, its head first.

    Every range of a file is read with the columns and types that the head implies. The head is
    HEAD_BYTES, and at least one line that is not blank.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        chunks: list[bytes] = []
        begun = ended = at_end = False  # a line that is not blank
        size = 0
        while not (ended and size >= HEAD_BYTES):
            chunk = file.read(HEAD_BYTES)
            if not chunk:
                at_end = True
                break
            ended = ended or b"\n" in (chunk if begun else chunk.lstrip())
            begun = begun or bool(chunk.strip())
            chunks.append(chunk)
            size += len(chunk)
        self._head, self._whole = b"".join(chunks), at_end

    def head(self, *, by_bytes: bool = False) -> Block:
        """The whole lines of the head."""
        text = self._head if self._whole else self._head[: self._head.rindex(b"\n")]
        return next(_cut(iter([text + b"\n"]), 0, None, by_bytes))

    def blocks(self, start: int | None = None, end: int | None = None) -> Iterator[Block]:
        """The lines that begin in [start, end), by their offsets; without a start all of them, by
        their numbers.
        """
        if not start:
            return _cut(chain([self._head], self._chunks()), 0, end, start is not None)
        return _cut(self._chunks(), self._next_line(start, end), end, by_bytes=True)

    def _chunks(self) -> Iterator[bytes]:
        while block := self._file.read(BLOCK_BYTES):
            yield block

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


def _cut(chunks: Iterator[bytes], at: int, end: int | None, by_bytes: bool) -> Iterator[Block]:
    """Yields the lines, from the offset `at` to the last line that begins before `end`."""
    pending: list[bytes] = []  # of a line whose end has not been read yet
    number = 1
    while end is None or at < end:
        chunk = next(chunks, None)
        if chunk and b"\n" not in chunk:
            pending.append(chunk)
            continue
        lines = b"".join([*pending, chunk or b""]).split(b"\n")
        pending = [lines.pop()] if chunk is not None else []
        lengths = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
        offsets = at + np.concatenate([[0], np.cumsum(lengths)])
        if at == 0 and lines:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        inside = len(lines) if end is None else int(np.searchsorted(offsets[:-1], end))
        yield offsets[:inside] if by_bytes else number + np.arange(inside), lines[:inside]
        at, number = int(offsets[-1]), number + len(lines)
        if chunk is None:
            return


def not_blank(blocks: Iterable[Block], blank: bytes) -> Iterator[Block]:
    """Strips the bytes `blank` from each line and leaves out the lines that are then empty."""
    for positions, lines in blocks:
        stripped = [line.strip(blank) for line in lines]
        kept = np.flatnonzero(np.fromiter(map(len, stripped), int, len(stripped)))
        if len(kept):
            yield positions[kept], [line for line in stripped if line]


def shown(line: bytes) -> str:
    """A line as a reject shows it."""
    return line.decode("utf-8", "replace")


def parse_lines(
    positions: np.ndarray, lines: list[bytes], parse: Callable[[list[bytes]], pa.Table]
) -> ParsedRows:
    """Parses all lines at once; where that fails, each half, down to the single bad line."""
    tables, parsed = [parse([])], [np.arange(0)]
    malformed: list[Malformed] = []
    pending = [(0, len(lines))] if lines else []
    while pending:
        start, end = pending.pop()
        try:
            tables.append(parse(lines[start:end]))
            parsed.append(positions[start:end])
        except (ValueError, pa.ArrowException) as error:
            if end - start > 1:
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
            else:
                malformed.append((int(positions[start]), str(error), shown(lines[start])))
    return ParsedRows(pa.concat_tables(tables), np.concatenate(parsed), malformed)
