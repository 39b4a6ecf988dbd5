"""Look-up tables joined to a stream by a key: which columns each gives, and the join."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import ARROW_TYPES
from features.errors import FunnelError, nearest
from pipeline.config import Lookup, Stream
from pipeline.rows import cast
from pipeline.rows.read import Column, Wanted, key, read_source
from pipeline.sources.files import Source, find_lookup
from pipeline.sources.pieces import open_log


@dataclass(frozen=True)
class Join:
    """One look-up table of a stream: its files, how they are read, its key, the stream's column
    that holds the key, what is taken.
    """

    name: str
    sources: tuple[Source, ...]
    declared: str  # the Lookup, as JSON
    key: str
    on: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Lookups:
    """The joins of a stream, as decided before a job starts: small, so that it travels to workers,
    which load the tables.
    """

    joins: tuple[Join, ...] = ()

    @property
    def taken(self) -> set[Column]:
        """The columns that the stream's own files do not give."""
        return {column for join in self.joins for column in join.columns}

    def join(
        self, keys: dict[str, pa.Array]
    ) -> tuple[dict[Column, pa.Array], dict[str, np.ndarray]]:
        """Texts by `on` → ([n] columns, null where the table lacks the key; by table the [n] bool
        mask of those rows).
        """
        columns, misses = {}, {}
        for join in self.joins:
            table = load(join)
            at = pc.index_in(keys[join.on], table.keys, skip_nulls=True)
            columns |= {column: values.take(at) for column, values in table.columns.items()}
            misses[join.name] = at.is_null().to_numpy(zero_copy_only=False)
        return columns, misses


@dataclass(frozen=True)
class Table:
    """A loaded look-up table: [k] keys as text, and its columns."""

    keys: pa.Array
    columns: dict[Column, pa.Array]


def resolve(name: str, stream: Stream, source: Source, wanted: Iterable[Column]) -> Lookups:
    """Which of the wanted columns come from which look-up table, told by the stream's first file
    and each table's first one.

    Raises FunnelError for a column that neither the file nor a table holds, or several tables do.
    """
    if not stream.lookups:
        return Lookups()
    with open_log(source, stream) as log:
        own = log.names
    tables = {
        table: tuple(find_lookup(name, table, lookup)) for table, lookup in stream.lookups.items()
    }
    held = {
        table: _names(table, stream.lookups[table], files[0]) for table, files in tables.items()
    }
    given: dict[str, list[Column]] = {table: [] for table in tables}
    for column, raw_type in wanted:
        holders = [table for table, names in held.items() if column in names]
        if column in (own or ()) or (
            own is None and not holders
        ):  # an empty file does not tell what the others hold
            continue
        if not holders:
            known = {*own, *(n for names in held.values() for n in names)}
            raise FunnelError(
                f"{source.path} and its lookups {', '.join(held)}: have no column '{column}': {nearest(column, known)}"
            )
        if len(holders) > 1:
            raise FunnelError(
                f"logs.{name}.lookups: {holders[0]} and {holders[1]} both hold the column '{column}': rename one"
            )
        given[holders[0]].append((column, raw_type))
    return Lookups(
        tuple(
            _join(table, lookup, tables[table], given[table], own, source)
            for table, lookup in stream.lookups.items()
        )
    )


def _join(
    table: str,
    lookup: Lookup,
    sources: tuple[Source, ...],
    columns: list[Column],
    own: list[str] | None,
    source: Source,
) -> Join:
    on = lookup.on or lookup.key
    if own is not None and on not in own:
        raise FunnelError(
            f"{source.path}: has no column '{on}', the key of lookups.{table}: {nearest(on, own)}"
        )
    return Join(table, sources, lookup.model_dump_json(), lookup.key, on, tuple(columns))


def as_stream(lookup: Lookup) -> Stream:
    """A look-up table as a stream, whose id is its key."""
    return Stream(
        files=lookup.files,
        id=lookup.key,
        format=lookup.format,
        separator=lookup.separator,
        missing=lookup.missing,
    )


def _names(table: str, lookup: Lookup, source: Source) -> list[str]:
    with open_log(source, as_stream(lookup)) as log:
        names = log.names or []
    if lookup.key not in names:
        raise FunnelError(
            f"{source.path}: has no column '{lookup.key}', the key of lookups.{table}: {nearest(lookup.key, names)}"
        )
    return [name for name in names if name != lookup.key]


@cache
def load(join: Join) -> Table:
    """Reads a look-up table once in a process. Raises FunnelError for a row that cannot be used, or
    a key that is there twice.
    """
    stream = as_stream(Lookup.model_validate_json(join.declared))
    keys: list[pa.Array] = [pa.array([], pa.string())]
    parts = {column: [pa.array([], ARROW_TYPES[column[1]])] for column in join.columns}
    for source in join.sources:
        for batch in read_source(source, stream, Wanted(join.columns)):
            if batch.rejects:
                first = min(batch.rejects, key=lambda r: (r.line or r.byte, r.reason))
                what = f"{source.path}, {first.place}: {first.reason} ({first.value[:80]})"
                raise FunnelError(f"{what}; look-up tables must be clean: mend it")
            keys.append(batch.columns["id"])
            for column, chunks in parts.items():
                chunks.append(batch.columns[key(*column)])
    table = Table(
        pa.concat_arrays(keys),
        {column: pa.concat_arrays(chunks) for column, chunks in parts.items()},
    )
    twice = cast.repeated(table.keys)
    if twice is not None:
        raise FunnelError(
            f"{join.sources[0].path}: {join.key} '{twice}' is there twice: a look-up table has one row for each key"
        )
    return table
