"""Which files the configuration names: those of the streams, of the days asked for, of look-ups."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from features.errors import FunnelError
from pipeline.config import Dates, Lookup, PreprocessConfig, Stream
from pipeline.sources import dates
from pipeline.sources.formats import FORMATS
from pipeline.sources.storage import COMPRESSIONS, Source, list_sources

UNITS = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3}  # of sizes, largest first


def find_sources(config: PreprocessConfig) -> list[Source]:
    """Every file of every stream, in the order of the streams and of the names.

    Raises:
        FunnelError: a glob or a day without files, a file whose format is not known, or a file
            that both trains and evaluates.
    """
    sources = []
    for name, stream in config.logs.items():
        found = find(f"logs.{name}.files", name, stream, stream.files)
        sources += _of_the_days(config, config.dates, name, found) if config.dates else found
    eval_files = config.split.eval.files
    if eval_files is not None:
        if config.dates:
            raise FunnelError(
                "dates chooses files by their day, and split.eval.files has none: "
                "give split.eval last or fraction"
            )
        sources += _eval_sources(config, sources, eval_files)
    for name, stream in config.logs.items():
        check_options(f"logs.{name}", stream, {s.format for s in sources if s.stream == name})
    return sources


def check_options(where: str, stream: Stream | Lookup, formats: set[str]) -> None:
    """Raises FunnelError where an option is given that files of none of these formats read."""
    by_format = {name: format_.options for name, format_ in FORMATS.items()}
    known = frozenset().union(*by_format.values()) & type(stream).model_fields.keys()
    read = frozenset().union(*(by_format[name] for name in formats))
    for option in stream.changed(*sorted(known - read)):
        readers = " and ".join(name for name, options in by_format.items() if option in options)
        raise FunnelError(
            f"{where}.{option} = {getattr(stream, option)!r} is for {readers}, and the files are "
            f"{', '.join(sorted(formats))}: leave it out"
        )


def _of_the_days(
    config: PreprocessConfig, days: Dates, stream: str, files: list[Source]
) -> list[Source]:
    key = f"logs.{stream}.files"
    if stream == config.rows:
        return dates.of_days(files, lambda s: s.path, key, days)
    return dates.of_days_and_after(files, lambda s: s.path, key, days, config.longest_window)


def _eval_sources(
    config: PreprocessConfig, sources: list[Source], files: str | list[str]
) -> list[Source]:
    rows = config.rows
    found = find("split.eval.files", rows, config.logs[rows], files, evaluate=True)
    paths = Counter(os.path.abspath(s.path) for s in [*sources, *found] if s.stream == rows)
    twice = next((path for path, count in paths.items() if count > 1), None)
    if twice:
        raise FunnelError(
            f"{twice}: matched both by logs.{rows}.files and by split.eval.files; "
            "a row trains or evaluates, not both"
        )
    return found


def describe(sources: Iterable[Source]) -> Iterator[str]:
    """A line for each stream: how many files it has, their bytes, the first and the last.

    Example:
        >>> files = [Source("clicks", f"logs/{n}.csv", f"{n}.csv", 600_000, "csv") for n in "ab"]
        >>> list(describe(files))
        ['logs.clicks: 2 files, 1.2 MB, logs/a.csv to logs/b.csv']
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        name = source.stream if source.stream.startswith("logs.") else f"logs.{source.stream}"
        key = "split.eval.files" if source.evaluate else name
        groups.setdefault(key, []).append(source)
    for key, own in groups.items():
        first, last = own[0].path, own[-1].path
        named = f"{len(own):,} files, {_size(own)}, {first} to {last}"
        yield f"{key}: {named if len(own) > 1 else f'1 file, {_size(own)}, {first}'}"


def _size(sources: Iterable[Source]) -> str:
    size = sum(source.size for source in sources)
    unit = next((unit for unit in UNITS if size >= UNITS[unit]), None)
    return f"{size:,} bytes" if unit is None else f"{size / UNITS[unit]:,.1f} {unit}"


def find_tables(config: PreprocessConfig) -> list[Source]:
    """The files of the look-up tables, and of Ali-CCP's common features."""
    found = []
    for name, stream in config.logs.items():
        for table, lookup in stream.lookups.items():
            found += find_lookup(name, table, lookup)
        if stream.common is not None:
            found += find(f"logs.{name}.common", f"logs.{name}.common", stream, stream.common)
    return found


def find_lookup(stream: str, table: str, lookup: Lookup) -> list[Source]:
    key = f"logs.{stream}.lookups.{table}"
    found = find(f"{key}.files", key, lookup, lookup.files)
    check_options(key, lookup, {source.format for source in found})
    return found


def find(
    key: str,
    name: str,
    stream: Stream | Lookup,
    patterns: str | list[str],
    *,
    evaluate: bool = False,
) -> list[Source]:
    """The files of one or several globs, in the stream's format or that of their extension.

    Args:
        key: the configuration key that an error names.
        name: the stream that the files belong to.
        stream: the declaration that may give the format.
        patterns: globs.
        evaluate: whether the rows belong to the eval split.

    Raises:
        FunnelError: a glob without files, or a file whose format is not known.
    """

    def format_(path: str) -> str:
        return stream.format or format_of(key, path)

    return list_sources(key, name, patterns, format_, evaluate=evaluate)


def format_of(key: str, path: str) -> str:
    """The format that a file's extension implies, in any case; that of its compression does not
    count.

    Raises:
        FunnelError: no format has the extension.

    Example:
        >>> format_of("logs.clicks.files", "logs/clicks.jsonl.gz")
        'jsonl'
    """
    stem, last = os.path.splitext(path.lower())
    ending = os.path.splitext(stem)[1] if last in COMPRESSIONS else last
    for name, format_ in FORMATS.items():
        if ending in format_.endings:
            return name
    *others, last = [f"'{name}'" for name, format_ in FORMATS.items() if format_.endings]
    raise FunnelError(
        f"{key}: cannot infer the format from the file extension of '{path}'; "
        f"give format = {', '.join(others)} or {last}, or '{path}/*' if it is a directory"
    )
