"""Which columns the files of a stream hold. Where rows may lack columns, as in JSON lines, only a
column that no file holds is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from features.errors import FunnelError, nearest
from pipeline.config import Stream
from pipeline.sources.formats import FORMATS
from pipeline.sources.pieces import open_log
from pipeline.sources.storage import Source


def may_lack_columns(source: Source) -> bool:
    """Whether a file may lack a column that other files of its stream hold."""
    return FORMATS[source.format].rows_may_lack


def names_held(
    sources: Sequence[Source], stream: Stream, columns: Iterable[str]
) -> list[str] | None:
    """The columns of the first file; where rows may lack columns also those of `columns` that
    another file or a later row holds. All files are read where none has a column.

    Args:
        sources: the files of a stream.
        stream: how they are declared.
        columns: the columns that are needed.

    Returns:
        The names; None where the files are empty and do not say.

    Raises:
        FunnelError: a file cannot be read.
    """
    with open_log(sources[0], stream) as log:
        first = log.names
    if not may_lack_columns(sources[0]):
        return first
    found, missing = set(first or ()), set(columns) - set(first or ())
    for source in sources[1:]:
        if missing:
            with open_log(source, stream) as log:
                found |= missing & set(log.names or ()) if found else set(log.names or ())
            missing -= found
    for source in sources:
        if missing:
            with open_log(source, stream) as log:
                found |= log.search(missing)
            missing -= found
    return sorted(found) or None


def require(sources: Sequence[Source], present: list[str], needed: Iterable[str]) -> None:
    """Raises FunnelError unless each needed column is present, and once. `sources` are the files
    that together hold the columns `present`.
    """
    path, others = sources[0].path, len(sources) - 1
    for column in needed:
        if column not in present:
            some = f"{path} and {others} more file{'s' * (others > 1)}: have"
            raise FunnelError(
                f"{some if others else f'{path}: has'} no column '{column}': "
                f"{nearest(column, present)}"
            )
        if present.count(column) > 1:
            raise FunnelError(
                f"{path}: has {present.count(column)} columns '{column}': rename all but one"
            )
