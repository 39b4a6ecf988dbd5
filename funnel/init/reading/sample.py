"""The bounded sample of a stream: its first rows, and the first rows of its last file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import FunnelError
from funnel.init.reading.opening import open_file
from funnel.init.reading.streams import Log
from pipeline.arrow import flat
from pipeline.rows.casts import cast_valid
from pipeline.sources.formats import FORMATS
from pipeline.sources.formats.base import LogFile
from pipeline.sources.storage import Source

ROWS = 200_000  # of a stream
VALUES = 10_000_000  # rows × columns
BYTES = 128 << 20  # of the rows in memory
FIRST = 0.9  # the share of these that the first files may fill; the last file gets the rest
LIMITS = f"{ROWS:,} rows, {VALUES:,} values and {BYTES >> 20} MiB"
REPEATED = "several columns have this name: rename all but one"


@dataclass
class Sample:
    """Rows of a stream.

    Attributes:
        log: the stream.
        columns: [n] values by column. Texts of CSV have no spaces around them; the empty text is
            null.
        total: rows of the whole stream; an estimate unless `whole`.
        whole: whether the sample is the whole stream.
        malformed: lines that did not parse.
        unusable: columns that cannot be read, and why.
    """

    log: Log
    columns: dict[str, pa.Array]
    total: int
    whole: bool
    malformed: int = 0
    unusable: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_sample(log: Log) -> Sample:
    """Reads files in order until a limit is reached, then the head of the last file.

    Raises:
        FunnelError: a file cannot be read, the files have no row, or their columns differ.
    """
    reader = _Reader(log)
    whole, read = True, 0
    for source in log.sources:
        whole = reader.read(source, FIRST if len(log.sources) > 1 else 1.0)
        read += 1
        if not whole:
            break
    if read < len(log.sources):
        reader.read(log.sources[-1], 1.0)
    if not reader.rows:
        raise FunnelError(_empty(log, reader.names, reader.malformed))
    usable = [name for name in reader.names or () if name not in reader.unusable]
    held = [set(table.schema.names) for table in reader.tables]
    columns = {name: _plain(_joined(reader.tables, held, name), log) for name in usable}
    per_byte = reader.counted_rows / max(reader.counted_bytes, 1)
    total = reader.rows if whole else max(round(per_byte * log.size), reader.rows)
    return Sample(log, columns, total, whole, reader.malformed, reader.unusable)


def first_line(log: Log) -> list[str]:
    """The values of the first line of a CSV stream that holds any."""
    stream = replace(log, columns=None).declared
    for source in log.sources:
        with open_file(source) as (file, _):
            names = FORMATS["csv"](file, stream).names
            if names:
                return names
    return []


class _Reader:
    """Collects rows of a stream within the limits.

    Attributes:
        names: the columns of the stream; None until a file says.
        counted_rows, counted_bytes: rows, and the stored bytes that hold them.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.names: list[str] | None = None
        self.unusable: dict[str, str] = {}
        self.tables: list[pa.Table] = []
        self.rows = self.size = self.malformed = self.counted_rows = self.counted_bytes = 0

    def read(self, source: Source, share: float) -> bool:
        """Adds rows of a file, up to a share of the limits. Returns whether all were added."""
        with open_file(source) as (file, stored):
            if source.format == "parquet":
                return self._read_parquet(source, pq.ParquetFile(file), share)
            stream = self.log.declared
            opened = FORMATS[source.format](file, stream)
            if opened.names is None:
                return True
            self._take_names(source, opened.names)
            return self._read_text(source, opened, stored, share)

    def _read_text(
        self, source: Source, opened: LogFile, stored: BinaryIO | None, share: float
    ) -> bool:
        names = opened.names or []
        self._refuse_columns(opened, names)
        usable = {name: "text" for name in names if name not in self.unusable}
        before, fits = self.counted_rows, True
        for parsed in opened.read(usable):
            self.malformed += len(parsed.malformed)
            self.counted_rows += len(parsed.table)
            fits = self._add(parsed.table, share)
            if not fits:
                break
        if self.counted_rows > before:
            read = source.size if fits or stored is None else stored.tell()
            self.counted_bytes += min(read, source.size)
        return fits

    def _read_parquet(self, source: Source, file: pq.ParquetFile, share: float) -> bool:
        schema = file.schema_arrow
        self._take_names(source, list(schema.names))
        for column in schema:
            if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
                self.unusable[column.name] = f"it holds {column.type}, not single values or lists"
        self._refuse_repeated(schema.names)
        usable = [name for name in schema.names if name not in self.unusable]
        self.counted_rows += file.metadata.num_rows
        self.counted_bytes += source.size
        rows = max(min(65_536, VALUES // (4 * max(len(usable), 1))), 500)
        return all(
            self._add(pa.Table.from_batches([batch]), share)
            for batch in file.iter_batches(rows, columns=usable)
        )

    def _add(self, table: pa.Table, share: float) -> bool:
        """Keeps rows up to a share of the limits. Returns whether they all fit."""
        most = int(share * min(ROWS, VALUES / max(table.num_columns, 1)))
        kept = table.slice(0, max(most - self.rows, 0))
        self.tables.append(kept)
        self.rows += len(kept)
        self.size += kept.nbytes
        return len(kept) == len(table) and self.size < share * BYTES

    def _take_names(self, source: Source, found: list[str]) -> None:
        """Raises FunnelError where a file has other columns than the first one."""
        if self.names is None:
            self.names = found
        elif source.format == "jsonl":  # an object may leave keys out
            self.names += [name for name in found if name not in self.names]
        elif set(found) != set(self.names):
            differing = sorted(set(found) ^ set(self.names))[:5]
            raise FunnelError(
                f"{source.path}: its columns differ from those of "
                f"{self.log.sources[0].path} ({', '.join(differing)}); name the files of one "
                "stream by a glob in quotes"
            )

    def _refuse_repeated(self, names: list[str]) -> None:
        self.unusable |= {name: REPEATED for name, n in Counter(names).items() if n > 1}

    def _refuse_columns(self, opened: LogFile, names: list[str]) -> None:
        self._refuse_repeated(names)
        if self.log.format != "jsonl":
            return
        for name in names:
            try:
                next(iter(opened.read({name: "text"}, 0, 1)), None)  # the first line alone
            except FunnelError:
                self.unusable[name] = "it holds JSON objects, not single values or lists"


def _empty(log: Log, names: list[str] | None, malformed: int) -> str:
    where = log.sources[0].path
    if len(log.sources) > 1:
        where += f" and {len(log.sources) - 1} more"
    if malformed:
        return (
            f"{where}: none of {malformed:,} lines could be read as {log.format}; give the file "
            "the extension of its format"
        )
    if names is None and log.format == "jsonl" and log.size:
        return (
            f"{where}: holds no JSON object; the stream '{log.name}' needs one a line; if it is "
            "another format, give the file the extension of that"
        )
    if names is None:
        return f"{where}: is empty; the stream '{log.name}' needs at least one row"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{where}: holds a header ({shown}) and no row; '{log.name}' needs at least one row"


def _joined(tables: list[pa.Table], held: list[set[str]], name: str) -> pa.Array:
    """A column of all tables, null where one lacks it; as text where its types do not unify."""
    parts = [
        flat(table[name]) if name in names else pa.nulls(len(table))
        for table, names in zip(tables, held, strict=True)
    ]
    if len({part.type for part in parts}) > 1:
        try:
            tables = [pa.table({"x": part}) for part in parts]
            return flat(pa.concat_tables(tables, promote_options="permissive")["x"])
        except pa.ArrowException:
            parts = [part.cast(pa.string()) for part in parts]
    return pa.concat_arrays(parts)


def _plain(array: pa.Array, log: Log) -> pa.Array:
    """Dictionaries decoded, and texts as UTF-8."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        array, _ = cast_valid(array.cast(pa.binary()), lambda a: a.cast(pa.string()))
    elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type):
        if log.format == "csv":
            array = pc.ascii_trim_whitespace(array)
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return array
