"""Batches of valid rows: the columns to read of a stream, the rows read, and the rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

Column = tuple[str, str]  # name, raw type
KEPT = 1000  # rejects of a reason and file that are kept; all are counted


def column_key(column: str, raw_type: str) -> str:
    """The name of a column in a batch. One column may be read in two raw types.

    Example:
        >>> column_key("price", "number")
        'number:price'
    """
    return f"{raw_type}:{column}"


@dataclass(frozen=True)
class ColumnRequest:
    """The columns to read of a stream besides id and time, and the rules for their values.

    Attributes:
        columns: (name, raw type); a column may occur in several raw types.
        bounds: smallest and largest integer by column.
        paired: list column → the list column that must hold as many values.
        separators: of paired columns that are texts, by column.
        nonnegative: columns of numbers that must not be below 0.
    """

    columns: tuple[Column, ...] = ()
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    paired: Mapping[str, str] = field(default_factory=dict)
    separators: Mapping[str, str] = field(default_factory=dict)
    nonnegative: Collection[str] = ()


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used.

    Attributes:
        file: the name of its file.
        line: its line from 1; in Parquet the row's number. None in a text file read in pieces,
            where nobody counts the lines.
        byte: in a text file read in pieces the offset at which the line begins.
        reason: the rule that the row breaks.
        value: the first characters of the value that breaks it.
    """

    file: str
    line: int | None
    byte: int | None
    reason: str
    value: str

    @property
    def position(self) -> str:
        """Where in the file the row is, in words."""
        return f"line {self.line}" if self.byte is None else f"byte {self.byte}"


@dataclass
class Batch:
    """Valid rows of one piece.

    Attributes:
        columns: [n] arrays by `column_key`, besides `id` as text and `time` in µs.
        positions: [n] positions in the file.
        rows_read: number of rows, the rejected ones included.
        rejects: the rows that cannot be used, of each reason the first KEPT; in order.
        rejected: the number of all of them by reason.
        lookup_misses: by look-up table the number of valid rows whose key the table lacks.
    """

    columns: dict[str, pa.Array]
    positions: np.ndarray
    rows_read: int
    rejects: list[Reject] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    lookup_misses: dict[str, int] = field(default_factory=dict)

    def raw(self, columns: Mapping[str, str]) -> dict[str, pa.Array]:
        """The columns of raw types `columns`, by their names in the log."""
        return {
            column: self.columns[column_key(column, raw_type)]
            for column, raw_type in columns.items()
        }
