"""Arguments of the command → streams: their name, their files, and the globs that match them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from features.declarations import input_name
from features.errors import FunnelError, nearest
from funnel.init.reading.opening import known_format, sniff, suffix
from pipeline.config import Stream
from pipeline.sources.listing import expand, is_hidden, refusal
from pipeline.sources.storage import Source, list_sources

ROWS_WORDS = ("impression", "impressions", "imps", "exposure", "exposures", "views", "shows")
EVENT_WORDS = (
    "click", "clicks", "conversion", "conversions", "purchase", "purchases", "order", "orders",
    "install", "installs", "cart", "carts", "like", "likes", "share", "shares", "play", "plays",
    "signup", "signups", "favorite", "favorites", "comment", "comments", "sales",
)  # fmt: skip
GENERIC = re.compile(
    r"^(part|data|logs?|files?|events?|dt|date|day|year|month|hour|[a-z])?[\d\W_]*$"
)
WILD = re.compile(r"[*?\[]")
SHOWN = 3  # names in an error


@dataclass
class Log:
    """One stream as the user gave it.

    Attributes:
        name: of the stream.
        patterns: globs that match its files and no others.
        sources: its files, in order of name.
        columns: the names of the columns of a CSV file without header.
        separator: between CSV values.
    """

    name: str
    patterns: list[str]
    sources: list[Source]
    columns: list[str] | None = None
    separator: str = ","

    @property
    def format(self) -> str:
        return self.sources[0].format

    @property
    def size(self) -> int:
        """Stored bytes of all files."""
        return sum(source.size for source in self.sources)

    @property
    def declared(self) -> Stream:
        """The stream as the configuration declares it."""
        return Stream.parse(
            {"files": self.patterns, "columns": self.columns, "separator": self.separator}
        )

    @property
    def names_its_format(self) -> bool:
        """Whether the configuration must give the format, as the file extension implies none."""
        return any(known_format(source.path) is None for source in self.sources)


def find_logs(arguments: Iterable[str], columns: list[str] | None = None) -> list[Log]:
    """The streams that the arguments name. Arguments of one name are one stream.

    Args:
        arguments: files, folders or globs, each perhaps after `name=`.
        columns: the names of the columns of CSV files without header.

    Raises:
        FunnelError: a path that matches nothing, a file that cannot be read as any format, or a
            folder of several formats.
    """
    found: dict[str, Log] = {}
    for argument in arguments:
        for name, path in _split_folder(*_named(argument)):
            log = _log(name, path, columns)
            same = found.setdefault(name, log)
            if same is not log:
                same.patterns += [p for p in log.patterns if p not in same.patterns]
                known = {source.path for source in same.sources}
                same.sources += [s for s in log.sources if s.path not in known]
                _one_format(name, same.sources)
    return list(found.values())


def stream_name(path: str) -> str:
    """The name of a stream, from the last part of its path that is not a glob, a date or "part".

    Example:
        >>> stream_name("logs/impressions/*/part-0.parquet"), stream_name("2026/people.csv.gz")
        ('impressions', 'people')
    """
    parts = [_stem(part) for part in Path(path).parts if part not in ("/", "..", ".")]
    for part in reversed(parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in ROWS_WORDS or word in EVENT_WORDS:
                return word
    named = (p for p in reversed(parts) if not WILD.search(p) and not GENERIC.match(p.lower()))
    return input_name(next(named, "table"))


def _named(argument: str) -> tuple[str, str]:
    """(stream, path) of `path` or `name=path`."""
    match = re.match(r"([A-Za-z][A-Za-z0-9_]*)=(.+)", argument)
    if match and not os.path.exists(argument):
        return match[1], match[2]
    return stream_name(argument), argument


def _split_folder(name: str, path: str) -> list[tuple[str, str]]:
    """A folder that holds folders of several streams is those streams."""
    if "://" in path or not os.path.isdir(path):
        return [(name, path)]
    inner = {
        child.name: stream_name(child.name)
        for child in sorted(Path(path).iterdir())
        if child.is_dir()
    }
    known = [n for n in inner.values() if n in ROWS_WORDS or n in EVENT_WORDS]
    if len(set(known)) < 2:
        return [(name, path)]
    return [(n, os.path.join(path, child)) for child, n in inner.items() if n in known]


def _log(name: str, path: str, columns: list[str] | None) -> Log:
    patterns, found = _listed(name, path)
    formats = {}
    for source in reversed(found):  # of each extension the first file
        formats[suffix(source.path)] = source
    sniffed = {ending: sniff(source) for ending, source in formats.items()}
    separators = sorted({separator for _, separator in sniffed.values()} - {","})
    sources = [replace(source, format=sniffed[suffix(source.path)][0]) for source in found]
    _one_format(path, sources)
    return Log(name, patterns, sources, columns, separators[0] if separators else ",")


def _listed(name: str, path: str) -> tuple[list[str], list[Source]]:
    """(globs, files) of a path, in order of name. The format of the files is not known yet."""
    if "://" in path:
        return [path], list_sources(name, name, path, lambda _: "")
    found: dict[str, str] = {}
    matched = [path] if os.path.exists(path) else expand(path, folders=True)
    for one in matched:
        found |= _below(glob.escape(path) if one == path else path, one)
    if not found:
        raise FunnelError(_nothing(name, path, matched))
    files = [Source(name, file, file, os.path.getsize(file), "") for file in sorted(found)]
    return list(dict.fromkeys(found.values())), files


def _below(pattern: str, path: str) -> dict[str, str]:
    """{file: glob} of a file, or of those below a folder: a glob for each depth and extension."""
    if not os.path.isdir(path):
        return {path: pattern}
    found = {}
    for folder, folders, files in os.walk(path, onerror=_refuse):
        folders[:] = sorted(f for f in folders if not is_hidden(f))
        depth = len(Path(folder).relative_to(path).parts)
        for file in sorted(files):
            if not is_hidden(file):
                inner = "/".join([*["*"] * depth, "*" + suffix(file)])
                found[os.path.join(folder, file)] = os.path.join(pattern, inner)
    return found


def _refuse(error: OSError) -> None:
    raise refusal(str(error.filename), error)


def _one_format(where: str, sources: list[Source]) -> None:
    """Raises FunnelError where files of one stream have several formats."""
    by_format: dict[str, list[str]] = {}
    for source in sources:
        by_format.setdefault(source.format, []).append(os.path.basename(source.path))
    if len(by_format) > 1:
        counts = ", ".join(
            f"{len(files)} {format_} ({', '.join(files[:SHOWN])}"
            f"{', …' if len(files) > SHOWN else ''})"
            for format_, files in sorted(by_format.items())
        )
        raise FunnelError(
            f"{where}: holds files of several formats: {counts}; a stream has one format, so name "
            f"one stream by a glob in quotes, as in '{where}/*{suffix(sources[0].path)}'"
        )


def _nothing(name: str, path: str, matched: list[str]) -> str:
    if matched and os.path.isdir(matched[0]):
        return f"{path}: no file is in this folder; {name} needs Parquet, CSV or JSON lines"
    folder = os.path.dirname(path) or "."
    there = os.listdir(folder) if os.path.isdir(folder) else []
    hint = nearest(os.path.basename(path), there) if there else f"there is no folder '{folder}'"
    return f"{path}: no such file or folder, nor a glob that matches one; {hint}"


def _stem(part: str) -> str:
    return part.removesuffix(suffix(part))
