"""Files → batches of valid rows, with everything that cannot be used listed beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from features.errors import FunnelError, nearest
from features.labels import ColumnLabel, EventLabel, ValueLabel
from features.spec import Spec
from pipeline.config import PreprocessConfig, Stream
from pipeline.rows.validate import Batch, Column, Reject, Wanted, key, validate
from pipeline.sources.files import Source
from pipeline.sources.formats.lines import HEAD_BYTES
from pipeline.sources.pieces import Piece, open_log, pieces

if TYPE_CHECKING:
    from pipeline.rows.lookups import Lookups

__all__ = [
    "Batch",
    "Column",
    "Piece",
    "Reject",
    "Wanted",
    "check_columns",
    "key",
    "pieces",
    "read",
    "read_source",
    "wanted",
    "wanted_features",
]


def wanted(config: PreprocessConfig, stream: str) -> Wanted:
    """What the job reads of a stream: of the rows what features, labels and the split need; of
    events their labels' numbers and key.
    """
    return _of_rows(config) if stream == config.rows else _of_events(config, stream)


def _of_rows(config: PreprocessConfig) -> Wanted:
    spec, by = config.spec, config.split.eval.by
    features = wanted_features(spec, spec.columns)
    others = [
        (label.column, "text") for label in spec.labels.values() if isinstance(label, ColumnLabel)
    ]
    others += [(by, "text")] if by is not None else []
    numbers = _numbers(label for label in spec.labels.values() if isinstance(label, ValueLabel))
    others += [(column, "number") for column in numbers]
    return replace(
        features,
        columns=tuple(dict.fromkeys([*features.columns, *others])),
        nonnegative=tuple(numbers),
    )


def wanted_features(spec: Spec, columns: Mapping[str, str]) -> Wanted:
    """What the features read of these columns, raw types by name."""
    separators = {
        f.column: f.separator
        for f in spec.features.values()
        if getattr(f, "weights", None) and f.separator
    }
    bounds = {column: limits for column, limits in spec.bounds.items() if column in columns}
    return Wanted(
        columns=tuple(columns.items()), bounds=bounds, paired=spec.paired, separators=separators
    )


def _of_events(config: PreprocessConfig, stream: str) -> Wanted:
    key_ = config.logs[stream].key
    numbers = tuple(
        _numbers(label for label in config.event_labels.values() if label.event == stream)
    )
    columns = [(column, "number") for column in numbers] + (
        [(key_, "text")] if key_ is not None else []
    )
    return Wanted(columns=tuple(columns), nonnegative=numbers)


def _numbers(labels: Iterable[ValueLabel | EventLabel]) -> list[str]:
    """The columns of numbers that labels are made of, each once."""
    return list(
        dict.fromkeys(
            column for label in labels for column in (label.value, label.of) if column is not None
        )
    )


def read(
    piece: Piece, stream: Stream, wanted: Wanted, lookups: Lookups | None = None
) -> Iterator[Batch]:
    """The batches of one piece. Raises FunnelError when the file as a whole cannot be read, or
    lacks a column.
    """
    needed = _of_the_file(stream, wanted, lookups)
    with open_log(piece.source, stream) as log:
        if log.names is not None:
            _require(piece.source, log.names, needed)
        for raw in log.read(needed, piece.start, piece.end):
            yield validate(piece, stream, wanted, raw, lookups)


def read_source(
    source: Source, stream: Stream, wanted: Wanted, lookups: Lookups | None = None
) -> Iterator[Batch]:
    """The batches of a whole file."""
    for piece in pieces(source, stream):
        yield from read(piece, stream, wanted, lookups)


def check_columns(
    source: Source, stream: Stream, wanted: Wanted, lookups: Lookups | None = None
) -> None:
    """Reads the first rows, so that a column that is absent or of a wrong type is named before a
    job starts.

    Of Ali-CCP only the names are checked: its rows need the common features, gigabytes of them.
    """
    if source.format == "aliccp":
        with open_log(source, stream) as log:
            if log.names is not None:
                _require(source, log.names, _of_the_file(stream, wanted, lookups))
        return
    end = 1 if source.format == "parquet" else HEAD_BYTES
    next(read(Piece(source, 0, end), stream, wanted, lookups), None)


def _of_the_file(stream: Stream, wanted: Wanted, lookups: Lookups | None) -> dict[str, str]:
    """Column → raw type of what the file itself must hold."""
    needed: dict[str, str] = {}
    for column, raw_type in wanted.columns:
        if lookups is None or (column, raw_type) not in lookups.taken:
            needed.setdefault(column, raw_type)
    for join in lookups.joins if lookups else ():
        needed.setdefault(join.on, "text")
    for column, raw_type in ((stream.id, "text"), (stream.time, "time")):
        if column is not None:
            needed.setdefault(column, raw_type)
    return needed


def _require(source: Source, present: list[str], needed: Iterable[str]) -> None:
    for column in needed:
        if column not in present:
            raise FunnelError(
                f"{source.path}: has no column '{column}': {nearest(column, present)}"
            )
        if present.count(column) > 1:
            raise FunnelError(
                f"{source.path}: has {present.count(column)} columns '{column}': rename all but one"
            )
