"""Ali-CCP's raw pair of files: a skeleton of samples, and the features that many samples have in
common.

    sample_skeleton    sample_id,click,conversion,common_feature_id,count,features
    common_features    common_feature_id,count,features
    features           field \\x02 id \\x03 value, with \\x01 between them

A field is a column of ids, "<field>.value" the column of their values; a sample has its own and
those of its common_feature_id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.rows import cast
from pipeline.sources.files import Source, find, open_source
from pipeline.sources.formats.csv import parse_csv
from pipeline.sources.formats.lines import Raw, Text, not_blank

SKELETON = ["sample_id", "click", "conversion", "common_feature_id", "count", "features"]
COMMON = ["common_feature_id", "count", "features"]
VALUE = ".value"
MISS = "common"


class AliccpFile:
    """A skeleton file, with the common features of its stream looked up."""

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        if stream.common is None:
            raise FunnelError(
                "format = 'aliccp' reads two files: name the one of common features in common = \"…/common_features.csv\""
            )
        self._text, self._stream = Text(file), stream
        self._sources = tuple(find("common", "common", stream, stream.common))
        self._declared = stream.model_dump_json(include={"files", "separator"})

    @cached_property
    def names(self) -> list[str] | None:
        """The samples' own columns, and the fields of the first lines of both files; None of an
        empty file.
        """
        own = _fields(self._text, SKELETON, self._stream)
        if own is None:
            return None
        return [*SKELETON[:4], *sorted(own | self._fields_of_common())]

    def _fields_of_common(self) -> set[str]:
        with open_source(self._sources[0]) as file:
            return _fields(Text(file), COMMON, self._stream) or set()

    def read(
        self, wanted: dict[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[Raw]:
        """Blocks of samples that begin in [start, end)."""
        fields = {column: raw_type for column, raw_type in wanted.items() if column not in SKELETON}
        common = _common_features(self._declared, self._sources, tuple(fields))
        for places, lines in not_blank(self._text.blocks(start, end), b"\r"):
            raw = _parse(places, lines, SKELETON, self._stream)
            at = pc.index_in(raw.table["common_feature_id"].combine_chunks(), common.keys)
            features = _split(raw.table, "sample_id")
            columns = {
                column: raw.table[column].combine_chunks()
                for column in wanted
                if column in SKELETON
            }
            several = np.zeros(len(raw.table), bool)
            for column, raw_type in fields.items():
                lists = _concatenate(features.lists(column), common.columns[column].take(at))
                columns[column], many = (
                    (lists, None) if raw_type in ("texts", "numbers") else _single(lists)
                )
                several |= many if many is not None else False
            misses = {MISS: at.is_null().to_numpy(zero_copy_only=False)}
            yield _without(
                Raw(pa.table(columns), raw.places, raw.malformed, misses),
                several,
                "a field with several values, read as one",
            )


@dataclass(frozen=True)
class Features:
    """Features of n rows, flat: the row, field, id and value of each."""

    count: int
    rows: np.ndarray
    fields: pa.Array
    ids: pa.Array
    values: pa.Array

    def lists(self, column: str) -> pa.Array:
        """The ids, or values, of a field: [n] list<binary>."""
        field = column.removesuffix(VALUE)
        mine = pc.equal(self.fields, pa.scalar(field.encode(), pa.binary()))
        flat = (self.values if column.endswith(VALUE) else self.ids).filter(mine)
        return _lists(self.rows[mine.to_numpy(zero_copy_only=False)], flat, self.count)


@dataclass(frozen=True)
class Common:
    """The common features: [k] keys, and by column [k] list<binary>."""

    keys: pa.Array
    columns: dict[str, pa.Array]


@cache
def _common_features(declared: str, sources: tuple[Source, ...], wanted: tuple[str, ...]) -> Common:
    """Reads the common features once in a process. Raises FunnelError for a line that cannot be
    used, or a key that is there twice.
    """
    stream = Stream.model_validate_json(declared)
    keys, columns = (
        [pa.array([], pa.binary())],
        {column: [pa.array([], pa.list_(pa.binary()))] for column in wanted},
    )
    for source in sources:
        with open_source(source) as file:
            for places, lines in not_blank(Text(file).blocks(), b"\r"):
                raw = _parse(places, lines, COMMON, stream)
                if raw.malformed:
                    place, reason, text = min(raw.malformed)
                    raise FunnelError(
                        f"{source.path}, line {place}: {reason} ({text[:80]!r}); common features must be clean: mend it"
                    )
                features = _split(raw.table, "common_feature_id")
                keys.append(raw.table["common_feature_id"].combine_chunks())
                for column, chunks in columns.items():
                    chunks.append(features.lists(column))
    all_keys = pa.concat_arrays(keys)
    twice = cast.repeated(all_keys)
    if twice is not None:
        raise FunnelError(
            f"{sources[0].path}: common_feature_id '{twice.decode('utf-8', 'replace')}' is there twice: keep one line for each"
        )
    return Common(
        all_keys, {column: pa.concat_arrays(chunks) for column, chunks in columns.items()}
    )


def _fields(text: Text, names: list[str], stream: Stream) -> set[str] | None:
    """The columns of the first lines; None where there are none."""
    for places, lines in not_blank([text.head()], b"\r"):
        raw = _parse(places, lines, names, stream)
        found = _split(raw.table, names[0]).fields.unique().to_pylist()
        names_ = {field.decode("utf-8", "replace") for field in found}
        return names_ | {name + VALUE for name in names_}
    return None


def _parse(places: np.ndarray, lines: list[bytes], names: list[str], stream: Stream) -> Raw:
    """Lines → their columns as bytes, those whose features are not as many as counted, or not of
    the form, malformed.
    """
    unquoted = stream.model_copy(update={"quote": "", "columns": names})
    raw = parse_csv(places, lines, names, dict.fromkeys(names, "text"), unquoted)
    texts = raw.table["features"].combine_chunks()
    counted = pc.if_else(
        pc.equal(pc.binary_length(texts), 0), 0, pc.add(pc.count_substring(texts, "\x01"), 1)
    )
    given = raw.table["count"].combine_chunks()
    raw = _without(
        raw,
        pc.not_equal(given, counted.cast(pa.string()).cast(pa.binary())),
        "count is not the number of features",
    )
    return _without(
        raw,
        _misformed(raw.table["features"].combine_chunks()),
        "features are not field, id and value",
    )


def _misformed(texts: pa.Array) -> np.ndarray:
    """[n] bool mask: some feature has not one \\x02 and one \\x03 behind it."""
    return pc.invert(
        pc.match_substring_regex(
            texts, "^((^|\x01)[^\x01\x02\x03]+\x02[^\x01\x02\x03]+\x03[^\x01\x02\x03]+)*$"
        )
    ).to_numpy(zero_copy_only=False)


def _without(raw: Raw, bad: pa.Array | np.ndarray, reason: str) -> Raw:
    """The rows without the bad ones, which become malformed."""
    mask = np.asarray(bad)
    if not mask.any():
        return raw
    first = raw.table.column_names[0]
    shown = (
        raw.table.column("sample_id" if "sample_id" in raw.table.column_names else first)
        .filter(pa.array(mask))
        .to_pylist()
    )
    malformed = [
        (int(place), reason, repr(value))
        for place, value in zip(raw.places[mask], shown, strict=True)
    ]
    misses = {name: missed[~mask] for name, missed in raw.misses.items()}
    return Raw(
        raw.table.filter(pa.array(~mask)), raw.places[~mask], raw.malformed + malformed, misses
    )


def _split(table: pa.Table, key: str) -> Features:
    """The features of well-formed lines."""
    texts = table["features"].combine_chunks()
    lists = pc.split_pattern(texts, "\x01")
    rows = np.repeat(
        np.arange(len(texts)), pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    )
    flat = lists.flatten()
    there = pc.greater(pc.binary_length(flat), 0)
    rows, flat = rows[there.to_numpy(zero_copy_only=False)], flat.filter(there)
    fields, rest = _halves(flat, "\x02")
    return Features(len(table), rows, fields, *_halves(rest, "\x03"))


def _halves(texts: pa.Array, mark: str) -> tuple[pa.Array, pa.Array]:
    parts = pc.split_pattern(texts, mark, max_splits=1).flatten()
    at = np.arange(len(texts)) * 2
    return parts.take(pa.array(at)), parts.take(pa.array(at + 1))


def _lists(rows: np.ndarray, flat: pa.Array, count: int) -> pa.Array:
    """Values and their rows, which rise → [count] lists; null for a row without values."""
    lengths = np.bincount(rows, minlength=count)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(lengths == 0))


def _concatenate(left: pa.Array, right: pa.Array) -> pa.Array:
    """The values of both lists of each row."""
    if left.null_count == len(left):
        return right
    if right.null_count == len(right):
        return left
    lengths = [
        pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        for lists in (left, right)
    ]
    rows = np.concatenate([np.repeat(np.arange(len(left)), one) for one in lengths])
    order = np.argsort(rows, kind="stable")
    return _lists(
        rows[order],
        pa.concat_arrays([left.flatten(), right.flatten()]).take(pa.array(order)),
        len(left),
    )


def _single(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """([n] the only value of each list, [n] bool mask of lists with several)."""
    several = np.asarray(pc.fill_null(pc.greater(pc.list_value_length(lists), 1), False))
    starts = pa.array(np.asarray(lists.offsets)[:-1], mask=np.asarray(lists.is_null()))
    return lists.values.take(starts), several
