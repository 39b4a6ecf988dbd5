"""Text files → blocks of lines with their places: line numbers, or byte offsets where a piece of
the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pyarrow as pa

BLOCK_BYTES = 8 << 20
HEAD_BYTES = 1 << 20  # of every file, from which its columns and their types are told
SCAN_BYTES = 1 << 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Block = tuple[np.ndarray, list[bytes]]  # [n] places, n lines


@dataclass
class Raw:
    """Parsed rows and their places; `malformed` lists (place, reason, text) of the lines that did
    not parse.

    `misses` says by table which rows' key it does not hold: [n] bool masks.
    """

    table: pa.Table
    places: np.ndarray
    malformed: list[tuple[int, str, str]] = field(default_factory=list)
    misses: dict[str, np.ndarray] = field(default_factory=dict)


class Text:
    """A text file whose head is read first, so that every piece of it is read with the same columns
    and types.

    The head is HEAD_BYTES, and at least one line that holds something.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file, parts, begun, ended = file, [], False, False
        while not (ended and sum(map(len, parts)) >= HEAD_BYTES) and (
            block := file.read(HEAD_BYTES)
        ):
            ended = ended or b"\n" in (block if begun else block.lstrip())
            begun = begun or bool(block.strip())
            parts.append(block)
        self._head, self._whole = b"".join(parts), not (parts and block)

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
            if (newline := block.find(b"\n")) >= 0:
                self._file.seek(at + newline + 1)
                return at + newline + 1
            at += len(block)
        return at


def _cut(chunks: Iterator[bytes], at: int, end: int | None, by_bytes: bool) -> Iterator[Block]:
    """The lines of a text that begins at the offset `at`, up to the last that begins before `end`."""
    parts: list[bytes] = []  # of a line whose end is not there yet
    number = 1
    while end is None or at < end:
        chunk = next(chunks, None)
        if chunk and b"\n" not in chunk:
            parts.append(chunk)
            continue
        lines = b"".join([*parts, chunk or b""]).split(b"\n")
        parts = [lines.pop()] if chunk is not None else []
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
    """The lines stripped of `blank`, those that hold nothing else left out."""
    for places, lines in blocks:
        stripped = [line.strip(blank) for line in lines]
        there = np.flatnonzero(np.fromiter(map(len, stripped), int, len(stripped)))
        if len(there):
            yield places[there], [line for line in stripped if line]


def shown(line: bytes) -> str:
    """A line as a reject shows it."""
    return line.decode("utf-8", "replace")


def parse_lines(
    places: np.ndarray, lines: list[bytes], parse: Callable[[list[bytes]], pa.Table]
) -> Raw:
    """Parses all lines at once; where that fails, each half, down to the single bad line."""
    pieces, rows, malformed = [parse([])], [np.arange(0)], []
    todo = [(0, len(lines))] if lines else []
    while todo:
        start, end = todo.pop()
        try:
            pieces.append(parse(lines[start:end]))
            rows.append(places[start:end])
        except (ValueError, pa.ArrowException) as error:
            if end - start > 1:
                middle = (start + end) // 2
                todo += [(middle, end), (start, middle)]
            else:
                malformed.append((int(places[start]), str(error), shown(lines[start])))
    return Raw(pa.concat_tables(pieces), np.concatenate(rows), malformed)
