"""Ali-CCP's raw pair of files: a skeleton of samples, and the features that many samples have in
common.

    sample_skeleton    sample_id,click,conversion,common_feature_id,count,features
    common_features    common_feature_id,count,features
    features           field \\x02 id \\x03 value, with \\x01 between them

A field is a column of ids, "<field>.value" the column of their values; a sample has its own and
those of its common_feature_id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import FunnelError
from features.kinds.lists import from_lengths
from features.kinds.lists import lengths as list_lengths
from pipeline.arrow import first_repeated, flat
from pipeline.config import LINE_BYTES, Stream
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.csv import parse_csv
from pipeline.sources.formats.lines import Block, LineReader, TextFile, not_blank
from pipeline.sources.storage import Source, list_sources, open_source

SKELETON = ["sample_id", "click", "conversion", "common_feature_id", "count", "features"]
COMMON = ["common_feature_id", "count", "features"]
VALUE = ".value"
MISS = "common"


class AliccpFile(TextFile):
    """A skeleton file, joined with the common features of its stream."""

    head = None  # the first samples need the common features, which take gigabytes
    needs_common = True
    for_lookups = False
    options = frozenset({"separator", "quote"})

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        if stream.common is None:
            raise FunnelError(
                "format = 'aliccp' reads two files: "
                'name the one of common features in common = "…/common_features.csv"'
            )
        self._lines, self._stream = LineReader(file, stream.max_line_bytes), stream
        self._sources = tuple(list_sources("common", "common", stream.common, lambda _: "aliccp"))
        self._declared = stream.model_dump_json(include={"files", "separator", "max_line_bytes"})

    @cached_property
    def names(self) -> list[str] | None:
        """The samples' own columns, and the fields of the first lines of both files; None where the
        file is empty.
        """
        own = _fields(self._lines, SKELETON, self._stream)
        if own is None:
            return None
        return [*SKELETON[:4], *sorted(own | self._fields_of_common())]

    def _fields_of_common(self) -> set[str]:
        with open_source(self._sources[0]) as file:
            return _fields(LineReader(file, LINE_BYTES), COMMON, self._stream) or set()

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields blocks of the samples that begin in [start, end)."""
        fields = {name: raw_type for name, raw_type in columns.items() if name not in SKELETON}
        common = _common_features(self._declared, self._sources, tuple(fields))
        for block in not_blank(self._lines.blocks(start, end), b"\r"):
            samples = _parse(block, SKELETON, self._stream)
            at = pc.index_in(flat(samples.table["common_feature_id"]), common.keys)
            features = _split(samples.table)
            values = {name: flat(samples.table[name]) for name in columns if name in SKELETON}
            several = np.zeros(len(samples.table), bool)
            for name, raw_type in fields.items():
                lists = _concatenate(features.lists(name), common.columns[name].take(at))
                if raw_type in ("texts", "numbers"):
                    values[name] = lists
                else:
                    values[name], many = _single(lists)
                    several |= many
            misses = {MISS: at.is_null().to_numpy(zero_copy_only=False)}
            rows = ParsedRows(pa.table(values), samples.positions, samples.malformed, misses)
            yield _without(rows, several, "a field with several values, read as one")


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
        found = (self.values if column.endswith(VALUE) else self.ids).filter(mine)
        return _lists(self.rows[mine.to_numpy(zero_copy_only=False)], found, self.count)


@dataclass(frozen=True)
class Common:
    """The common features: [k] keys, and by column [k] list<binary>."""

    keys: pa.Array
    columns: dict[str, pa.Array]


@cache
def _common_features(
    declared: str, sources: tuple[Source, ...], columns_needed: tuple[str, ...]
) -> Common:
    """Reads the common features once in a process. Raises FunnelError for a line that cannot be
    used, or a repeated key.
    """
    stream = Stream.model_validate_json(declared)
    keys = [pa.array([], pa.binary())]
    columns = {column: [pa.array([], pa.list_(pa.binary()))] for column in columns_needed}
    for source in sources:
        with open_source(source) as file:
            for block in not_blank(LineReader(file, stream.max_line_bytes).blocks(), b"\r"):
                parsed = _parse(block, COMMON, stream)
                if parsed.malformed:
                    line, reason, text = min(parsed.malformed)
                    raise FunnelError(
                        f"{source.path}, line {line}: {reason} ({text[:80]!r}); "
                        "common features must have no malformed line: fix it"
                    )
                features = _split(parsed.table)
                keys.append(flat(parsed.table["common_feature_id"]))
                for column, chunks in columns.items():
                    chunks.append(features.lists(column))
    all_keys = pa.concat_arrays(keys)
    repeated = first_repeated(all_keys)
    if repeated is not None:
        raise FunnelError(
            f"{sources[0].path}: common_feature_id '{repeated.decode('utf-8', 'replace')}' "
            "occurs more than once: keep one line for each"
        )
    return Common(
        all_keys, {column: pa.concat_arrays(chunks) for column, chunks in columns.items()}
    )


def _fields(reader: LineReader, names: list[str], stream: Stream) -> set[str] | None:
    """The columns of the first lines; None where there are no lines."""
    for block in not_blank(reader.head(), b"\r"):
        parsed = _parse(block, names, stream)
        found = _split(parsed.table).fields.unique().to_pylist()
        fields = {field.decode("utf-8", "replace") for field in found}
        return fields | {field + VALUE for field in fields}
    return None


def _parse(block: Block, names: list[str], stream: Stream) -> ParsedRows:
    """Lines → their columns as bytes. A line is malformed where the number of its features is not
    its count, or where a feature is not field, id and value.
    """
    unquoted = stream.model_copy(update={"quote": "", "columns": names})
    positions, lines, long = block
    parsed = parse_csv(positions, lines, names, dict.fromkeys(names, "text"), unquoted)
    parsed.malformed += long
    texts = flat(parsed.table["features"])
    counted = pc.if_else(
        pc.equal(pc.binary_length(texts), 0), 0, pc.add(pc.count_substring(texts, "\x01"), 1)
    )
    declared = flat(parsed.table["count"])
    wrong = pc.not_equal(declared, counted.cast(pa.string()).cast(pa.binary()))
    parsed = _without(parsed, wrong, "count is not the number of features")
    misformed = _misformed(flat(parsed.table["features"]))
    return _without(parsed, misformed, "features are not field, id and value")


def _misformed(texts: pa.Array) -> np.ndarray:
    """[n] bool mask: some feature is not field \\x02 id \\x03 value."""
    value = "[^\x01\x02\x03]+"
    good = pc.match_substring_regex(texts, f"^((^|\x01){value}\x02{value}\x03{value})*$")
    misformed: np.ndarray = pc.invert(good).to_numpy(zero_copy_only=False)
    return misformed


def _without(rows: ParsedRows, bad: pa.Array | np.ndarray, reason: str) -> ParsedRows:
    """The rows without the bad ones, which become malformed."""
    mask = np.asarray(bad)
    if not mask.any():
        return rows
    table = rows.table
    name = "sample_id" if "sample_id" in table.column_names else table.column_names[0]
    shown = table.column(name).filter(pa.array(mask)).to_pylist()
    malformed = [
        (int(position), reason, repr(value))
        for position, value in zip(rows.positions[mask], shown, strict=True)
    ]
    return ParsedRows(
        table.filter(pa.array(~mask)),
        rows.positions[~mask],
        rows.malformed + malformed,
        {name: missed[~mask] for name, missed in rows.lookup_misses.items()},
    )


def _split(table: pa.Table) -> Features:
    """The features of well-formed lines."""
    lists = pc.split_pattern(flat(table["features"]), "\x01")
    rows = np.repeat(np.arange(len(lists)), list_lengths(lists))
    texts = lists.flatten()
    present = pc.greater(pc.binary_length(texts), 0)
    rows, texts = rows[present.to_numpy(zero_copy_only=False)], texts.filter(present)
    fields, rest = _halves(texts, "\x02")
    return Features(len(table), rows, fields, *_halves(rest, "\x03"))


def _halves(texts: pa.Array, separator: str) -> tuple[pa.Array, pa.Array]:
    parts = pc.split_pattern(texts, separator, max_splits=1).flatten()
    at = np.arange(len(texts)) * 2
    return parts.take(pa.array(at)), parts.take(pa.array(at + 1))


def _lists(rows: np.ndarray, values: pa.Array, count: int) -> pa.Array:
    """Values and their rows, which rise → [count] lists; null for a row without values."""
    lengths = np.bincount(rows, minlength=count)
    return from_lengths(lengths, values, pa.array(lengths == 0))


def _concatenate(left: pa.Array, right: pa.Array) -> pa.Array:
    """[n] lists that hold the values of both lists of each row."""
    if left.null_count == len(left):
        return right
    if right.null_count == len(right):
        return left
    own = np.arange(len(left))
    rows = np.concatenate([np.repeat(own, list_lengths(lists)) for lists in (left, right)])
    order = np.argsort(rows, kind="stable")
    values = pa.concat_arrays([left.flatten(), right.flatten()]).take(pa.array(order))
    return _lists(rows[order], values, len(left))


def _single(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """([n] the only value of each list, [n] bool mask of lists with several)."""
    several = np.asarray(pc.fill_null(pc.greater(pc.list_value_length(lists), 1), False))
    starts = pa.array(np.asarray(lists.offsets)[:-1], mask=np.asarray(lists.is_null()))
    return lists.values.take(starts), several
