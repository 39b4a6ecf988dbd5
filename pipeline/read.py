"""Files → batches of valid rows, with everything that cannot be used listed beside them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from features.declarations import ColumnLabel
from features.errors import FunnelError, nearest
from pipeline import cast
from pipeline.config import PreprocessConfig, Stream
from pipeline.formats import READERS, Raw
from pipeline.sources import Source

NOUNS = {"text": "a text", "integer": "an integer", "number": "a number", "texts": "a list of texts"}
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError)


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: its file, its line (the row's number in Parquet, from 1), why, and what it held."""

    file: str
    line: int
    reason: str
    value: str


@dataclass
class Batch:
    """Valid rows of one file: columns by name in the spec's raw types, `id` as text and `time` in µs, and their lines.

    `rows_read` counts the rejected ones too.
    """

    columns: dict[str, pa.Array]
    lines: np.ndarray
    rows_read: int
    rejects: list[Reject] = field(default_factory=list)


def raw_columns(config: PreprocessConfig, stream: str) -> dict[str, str]:
    """What is read of a stream besides id and time: column → raw type. Events carry nothing else."""
    if stream != config.rows:
        return {}
    labels = {label.column: "text" for label in config.spec.labels.values() if isinstance(label, ColumnLabel)}
    return config.spec.columns | labels


def read(source: Source, stream: Stream, columns: dict[str, str]) -> Iterator[Batch]:
    """The batches of one file. Raises FunnelError when the file as a whole cannot be read, or lacks a column."""
    own = {stream.time: "number", stream.id: "text"}  # a time may be any number, whole or not
    wanted = columns | {c: raw_type for c, raw_type in own.items() if c is not None and c not in columns}
    with _open(source) as file:
        for raw in READERS[source.format](file, stream, wanted):
            _require(source, raw.table.column_names, wanted)
            yield _validate(source, stream, columns, raw)


def check_columns(source: Source, stream: Stream, columns: dict[str, str]) -> None:
    """Reads the first batch, so that a column that is absent or of a wrong type is named before a job starts."""
    next(read(source, stream, columns), None)


@contextmanager
def _open(source: Source) -> Iterator[pa.NativeFile]:
    try:
        with FileSystems.open(source.path, compression_type=CompressionTypes.UNCOMPRESSED) as handle:
            file = pa.PythonFile(handle, mode="r")
            yield pa.CompressedInputStream(file, "gzip") if source.gzipped else file
    except UNREADABLE as error:
        what = f"{source.format}{', gzipped' if source.gzipped else ''}"
        raise FunnelError(
            f"{source.path}: cannot be read as {what} ({_first_line(error)}); is the file whole, and of this format?"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _require(source: Source, present: list[str], wanted: Iterable[str]) -> None:
    for column in wanted:
        if column not in present:
            raise FunnelError(f"{source.path}: has no column '{column}': {nearest(column, present)}")
        if present.count(column) > 1:
            raise FunnelError(f"{source.path}: has {present.count(column)} columns '{column}': rename all but one")


def _shown(value: pa.Scalar) -> str:
    """A value as a reject shows it: bytes that are not UTF-8 as bytes, a time that Python cannot hold as a number."""
    try:
        return repr(value.as_py())
    except UnicodeDecodeError:
        return "a list of bytes that are not UTF-8" if pa.types.is_nested(value.type) else repr(value.cast(pa.binary()).as_py())
    except (ValueError, OverflowError):
        return str(value.cast(pa.int64()))


def _validate(source: Source, stream: Stream, columns: dict[str, str], raw: Raw) -> Batch:
    """Casts every column; a row with a value that does not fit is rejected for the first such column."""
    rows, table = len(raw.lines), raw.table
    kept: dict[str, pa.Array] = {}
    reasons: dict[int, tuple[str, str]] = {}  # row → (reason, value)

    def reject(mask: np.ndarray, reason: str, column: str) -> None:
        for row in np.flatnonzero(mask):
            reasons.setdefault(int(row), (reason, _shown(table[column][int(row)])))

    strip = stream.strip and source.format == "csv"
    if stream.id is not None:
        kept["id"], bad = cast.to_raw_type(stream.id, table[stream.id].combine_chunks(), "text", missing=stream.missing, strip=strip)
        reject(bad, f"{stream.id} is not a text", stream.id)
        reject(kept["id"].is_null().to_numpy(zero_copy_only=False), f"{stream.id} is missing", stream.id)
    else:
        kept["id"] = pa.array([f"{source.name}:{line}" for line in raw.lines], pa.string())
    if stream.time is not None:
        kept["time"], bad = cast.to_microseconds(stream.time, table[stream.time].combine_chunks(), stream.time_unit)
        reject(bad, f"{stream.time} is not a time", stream.time)
        reject(kept["time"].is_null().to_numpy(zero_copy_only=False), f"{stream.time} is missing", stream.time)
    for column, raw_type in columns.items():
        values, bad = cast.to_raw_type(column, table[column].combine_chunks(), raw_type, missing=stream.missing, strip=strip)
        kept[f"raw:{column}"] = values
        reject(bad, f"{column} is not {NOUNS[raw_type]}", column)
    good = np.ones(rows, bool)
    good[list(reasons)] = False
    rejects = [Reject(source.name, *bad) for bad in raw.malformed]
    rejects += [Reject(source.name, int(raw.lines[row]), *why) for row, why in sorted(reasons.items())]
    if not good.all():
        mask = pa.array(good)
        kept = {name: values.filter(mask) for name, values in kept.items()}
    return Batch(kept, raw.lines[good], rows + len(raw.malformed), rejects)
