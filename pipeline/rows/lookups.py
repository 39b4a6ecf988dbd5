"""Look-up tables joined to a stream by a key: which columns each table gives, and the join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError, nearest
from pipeline.config import Lookup, Stream
from pipeline.rows.batch import Column
from pipeline.rows.presence import names_held
from pipeline.sources.files import find_lookup
from pipeline.sources.storage import Source


@dataclass(frozen=True)
class Join:
    """One look-up table of a stream.

    Attributes:
        name: the table.
        sources: its files.
        declared: its `Lookup`, as JSON.
        key: its column of keys.
        on: the stream's column that holds the key.
        columns: the columns that the stream takes from it.
    """

    name: str
    sources: tuple[Source, ...]
    declared: str
    key: str
    on: str
    columns: tuple[Column, ...]

    @property
    def stream(self) -> Stream:
        """The table as a stream, whose id is its key."""
        return as_stream(Lookup.model_validate_json(self.declared))


@dataclass(frozen=True)
class Lookups:
    """The joins of a stream. They are decided before a job starts and travel to workers, which load
    the tables.
    """

    joins: tuple[Join, ...] = ()

    @property
    def taken(self) -> set[Column]:
        """The columns that the stream's own files do not give."""
        return {column for join in self.joins for column in join.columns}


@dataclass(frozen=True)
class Table:
    """A loaded look-up table: [k] keys as text, and its columns."""

    keys: pa.Array
    columns: dict[Column, pa.Array]


def look_up(
    tables: Mapping[Join, Table], keys: Mapping[str, pa.Array]
) -> tuple[dict[Column, pa.Array], dict[str, np.ndarray]]:
    """Joins the tables.

    Args:
        tables: the tables by join.
        keys: [n] keys as text, by the stream's column that holds them.

    Returns:
        [n] values by column, null where the table lacks the key; and by table an [n] bool mask of
        the rows whose key it lacks.
    """
    columns: dict[Column, pa.Array] = {}
    misses: dict[str, np.ndarray] = {}
    for join, table in tables.items():
        at = pc.index_in(keys[join.on], table.keys, skip_nulls=True)
        columns |= {column: values.take(at) for column, values in table.columns.items()}
        misses[join.name] = at.is_null().to_numpy(zero_copy_only=False)
    return columns, misses


def resolve(
    name: str, stream: Stream, sources: Sequence[Source], columns: Iterable[Column]
) -> Lookups:
    """Decides which of the columns come from which look-up table, by the stream's first file and
    the first file of each table; by all files where rows may lack columns and the first files do.
    See `resolve_names`.
    """
    if not stream.lookups:
        return Lookups()
    own = names_held(sources[:1], stream, ())
    return resolve_names(name, stream, sources[0].path, own, columns, sources)


def resolve_names(
    name: str,
    stream: Stream,
    path: str,
    own: list[str] | None,
    columns: Iterable[Column],
    sources: Sequence[Source] = (),
) -> Lookups:
    """Decides which of the columns come from which look-up table.

    Args:
        name: the stream.
        stream: its declaration.
        path: what errors call the stream's rows.
        own: the names of their columns; None where an empty file does not say.
        columns: the columns to read.
        sources: the files of the rows, which may hold more columns than the first one has.

    Raises:
        FunnelError: neither the file nor a table holds a column, or several tables do.
    """
    if not stream.lookups:
        return Lookups()
    tables = {
        table: tuple(find_lookup(name, table, lookup)) for table, lookup in stream.lookups.items()
    }
    held = {table: _names(table, stream.lookups[table], files) for table, files in tables.items()}
    columns = list(columns)
    elsewhere = {column for column, _ in columns}.difference(own or (), *held.values())
    if sources:
        keys = {lookup.on or lookup.key for lookup in stream.lookups.values()}
        own = names_held(sources, stream, elsewhere | keys)
        elsewhere.difference_update(own or ())
    if elsewhere:
        held = {
            table: _names(table, stream.lookups[table], files, elsewhere)
            for table, files in tables.items()
        }
    given: dict[str, list[Column]] = {table: [] for table in tables}
    for column, raw_type in columns:
        holders = [table for table, names in held.items() if column in names]
        if own is None and not holders:  # an empty file does not say what the others hold
            continue
        if own is not None and column in own:
            continue
        if not holders:
            known = {*(own or ()), *(n for names in held.values() for n in names)}
            raise FunnelError(
                f"{path} and its lookups {', '.join(held)}: have no column '{column}': "
                f"{nearest(column, known)}"
            )
        if len(holders) > 1:
            raise FunnelError(
                f"logs.{name}.lookups: {holders[0]} and {holders[1]} both hold the column "
                f"'{column}': rename one"
            )
        given[holders[0]].append((column, raw_type))
    return Lookups(
        tuple(
            _join(table, lookup, tables[table], given[table], own, path)
            for table, lookup in stream.lookups.items()
        )
    )


def as_stream(lookup: Lookup) -> Stream:
    """A look-up table as a stream, whose id is its key."""
    return Stream(
        files=lookup.files,
        id=lookup.key,
        format=lookup.format,
        separator=lookup.separator,
        max_line_bytes=lookup.max_line_bytes,
        missing=lookup.missing,
    )


def _join(
    table: str,
    lookup: Lookup,
    sources: tuple[Source, ...],
    columns: list[Column],
    own: list[str] | None,
    path: str,
) -> Join:
    on = lookup.on or lookup.key
    if own is not None and on not in own:
        raise FunnelError(
            f"{path}: has no column '{on}', the key of lookups.{table}: {nearest(on, own)}"
        )
    return Join(table, sources, lookup.model_dump_json(), lookup.key, on, tuple(columns))


def _names(
    table: str, lookup: Lookup, sources: Sequence[Source], columns: Iterable[str] = ()
) -> list[str]:
    names = names_held(sources, as_stream(lookup), {lookup.key, *columns}) or []
    if lookup.key not in names:
        raise FunnelError(
            f"{sources[0].path}: has no column '{lookup.key}', the key of lookups.{table}: "
            f"{nearest(lookup.key, names)}"
        )
    return [name for name in names if name != lookup.key]
