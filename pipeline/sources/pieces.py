"""The pieces in which large files are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.config import Stream
from pipeline.sources.formats import FORMATS
from pipeline.sources.formats.base import LogFile
from pipeline.sources.storage import Source, open_source

PIECE_BYTES = 64 << 20


@dataclass(frozen=True)
class Piece:
    """Part of a file: the range [start, end) in its format's unit; None for all of it."""

    source: Source
    start: int | None = None
    end: int | None = None

    @property
    def by_bytes(self) -> bool:
        """Whether the positions of its rows are byte offsets."""
        return self.start is not None and FORMATS[self.source.format].bytes_in_ranges


def pieces(source: Source, stream: Stream) -> Iterator[Piece]:
    """Yields the pieces of a file, always the same ones of the same file."""
    ranges = FORMATS[source.format].ranges(source, stream, PIECE_BYTES)
    if len(ranges) < 2:
        yield Piece(source)
    else:
        yield from (Piece(source, start, end) for start, end in ranges)


@contextmanager
def open_log(source: Source, stream: Stream) -> Iterator[LogFile]:
    """The file, open in its format. Raises FunnelError where it cannot be read."""
    with open_source(source) as file:
        yield FORMATS[source.format](file, stream)
