"""What every log format provides: a `LogFile` that yields `ParsedRows`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.config import Stream
from pipeline.sources.storage import Source

Malformed = tuple[int, str, str]  # position, reason, text


@dataclass
class ParsedRows:
    """Rows as the file holds them, before their values are cast.

    Attributes:
        table: [n] rows of the requested columns.
        positions: [n] line numbers from 1, or byte offsets.
        malformed: (position, reason, text) of lines that did not parse.
        lookup_misses: by look-up table, an [n] bool mask of the rows whose key it lacks.
    """

    table: pa.Table
    positions: np.ndarray
    malformed: list[Malformed] = field(default_factory=list)
    lookup_misses: dict[str, np.ndarray] = field(default_factory=dict)


class LogFile(ABC):
    """An open log file. A format is one subclass and one line of `FORMATS`.

    Attributes:
        endings: file extensions that imply the format.
        head: the [start, end) range whose first rows are read to check columns before a job, None
            where only the names are checked.
        bytes_in_ranges: whether rows of a range are located by byte offset; else by number.
        strips: whether the stream's `strip` applies to its texts.
        needs_common: whether the format reads the stream's second file, `common`.
        for_lookups: whether look-up tables may have this format.
        options: options of a stream that only some formats read, and this one does.
        rows_may_lack: whether rows, and so a file, may lack a column, which is then missing.
    """

    endings: ClassVar[tuple[str, ...]] = ()
    head: ClassVar[tuple[int, int] | None] = (0, 1)
    bytes_in_ranges: ClassVar[bool] = False
    strips: ClassVar[bool] = False
    needs_common: ClassVar[bool] = False
    for_lookups: ClassVar[bool] = True
    options: ClassVar[frozenset[str]] = frozenset()
    rows_may_lack: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        """Opens a file.

        Args:
            file: the file, decompressed, at its start.
            stream: how the file is declared.
        """

    @property
    @abstractmethod
    def names(self) -> list[str] | None:
        """The names of the columns; None where an empty file does not say."""

    @abstractmethod
    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields blocks of rows.

        Args:
            columns: raw type by name of the columns to read, each of which the file holds unless
                rows may lack it.
            start, end: a range that `ranges` gave, or `head`; None for the whole file.
        """

    def search(self, columns: Collection[str]) -> set[str]:
        """Those of the columns that some row of the file holds."""
        return set(columns) & set(self.names or ())

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """The [start, end) ranges in which a file is read, of about `piece_bytes` each. A file is
        always cut alike; one of fewer than two ranges is read whole.
        """
        return []

    @classmethod
    def most_rows(
        cls, source: Source, stream: Stream, start: int | None = None, end: int | None = None
    ) -> float:
        """The most rows that a file, or a range of it, may hold; infinite where nothing says."""
        return math.inf
