"""Globs → the list of files to read, with names that do not depend on where the logs lie; and how
one is opened.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from features.errors import FunnelError
from pipeline.config import Lookup, PreprocessConfig, Stream
from pipeline.sources import dates

ENDINGS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".data": "csv",
    ".test": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, BeamIOError)


@dataclass(frozen=True)
class Source:
    """One file of a stream. `name` is its path below the fixed part of the glob; `evaluate` says it
    belongs to the eval split.
    """

    stream: str
    path: str
    name: str
    size: int
    format: str
    evaluate: bool = False
    updated: float | None = None  # seconds since 1970, where the filesystem tells

    @property
    def compression(self) -> str:
        """none, gzip or zstd, told by the ending; Parquet compresses inside."""
        return COMPRESSIONS.get(os.path.splitext(self.path)[1], "none")


def connect(beam_args: Iterable[str] = ()) -> None:
    """Gives Beam's filesystems their options (--s3_endpoint_url …): before a pipeline runs nobody
    else does.
    """
    FileSystems.set_options(PipelineOptions(list(beam_args)))


def find_sources(config: PreprocessConfig) -> list[Source]:
    """Every file of every stream, in the order of the streams and of the names. Raises FunnelError
    for a glob without files.
    """
    sources = []
    for name, stream in config.logs.items():
        found = find(f"logs.{name}.files", name, stream, stream.files)
        sources += _of_the_days(config, name, found) if config.dates else found
    if config.split.eval.files is not None:
        if config.dates:
            raise FunnelError(
                "dates chooses files by their day, and split.eval.files has none: give split.eval last or fraction"
            )
        sources += _eval_sources(config, sources)
    return sources


def _of_the_days(config: PreprocessConfig, stream: str, files: list[Source]) -> list[Source]:
    key = f"logs.{stream}.files"
    if stream == config.rows:
        return dates.of_days(files, lambda s: s.path, key, config.dates)
    return dates.of_days_and_after(
        files, lambda s: s.path, key, config.dates, config.longest_window
    )


def _eval_sources(config: PreprocessConfig, sources: list[Source]) -> list[Source]:
    rows = config.rows
    found = find(
        "split.eval.files", rows, config.logs[rows], config.split.eval.files, evaluate=True
    )
    paths = Counter(os.path.abspath(s.path) for s in [*sources, *found] if s.stream == rows)
    twice = next((path for path, count in paths.items() if count > 1), None)
    if twice:
        raise FunnelError(
            f"{twice}: matched both by logs.{rows}.files and by split.eval.files; a row trains or evaluates, not both"
        )
    return found


def find_tables(config: PreprocessConfig) -> list[Source]:
    """The files that streams look up in: those of their look-up tables, and Ali-CCP's second ones."""
    found = []
    for name, stream in config.logs.items():
        for table, lookup in stream.lookups.items():
            found += find_lookup(name, table, lookup)
        if stream.common is not None:
            found += find(f"logs.{name}.common", f"logs.{name}.common", stream, stream.common)
    return found


def find_lookup(stream: str, table: str, lookup: Lookup) -> list[Source]:
    key = f"logs.{stream}.lookups.{table}"
    return find(f"{key}.files", key, lookup, lookup.files)


def find(
    key: str,
    name: str,
    stream: Stream | Lookup,
    patterns: str | list[str],
    *,
    evaluate: bool = False,
) -> list[Source]:
    """The files of one or several globs. `key` is what an error calls them."""
    found = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        remote = "://" in pattern
        try:
            # Beam finds nothing for a relative pattern that begins with a wildcard; "./" before an
            # absolute one is dropped by join.
            matches = FileSystems.match([pattern if remote else os.path.join("./", pattern)])[
                0
            ].metadata_list
        except (BeamIOError, ValueError) as error:
            raise FunnelError(f"{key} = '{pattern}': cannot be listed ({error})") from None
        if not matches:
            hint = "" if remote else "; relative paths start at the current directory"
            raise FunnelError(f"{key} = '{pattern}': no file matches{hint}")
        for match in matches:
            path, declared = (
                (match.path, pattern) if remote else map(os.path.normpath, (match.path, pattern))
            )
            format_ = stream.format or format_of(key, path)
            found[path] = Source(
                name,
                path,
                _below(path, declared),
                match.size_in_bytes,
                format_,
                evaluate,
                match.last_updated_in_seconds,
            )
    return sorted(found.values(), key=lambda s: (s.name, s.path))


def format_of(key: str, path: str) -> str:
    """The format told by a file's ending, that of its compression apart."""
    stem, last = os.path.splitext(path)
    ending = os.path.splitext(stem if last in COMPRESSIONS else path)[1]
    if ending not in ENDINGS:
        raise FunnelError(
            f"{key}: the ending of '{path}' tells no format; give format = 'parquet', 'csv' or 'jsonl', or '{path}/*' if it is a directory"
        )
    return ENDINGS[ending]


@contextmanager
def open_source(source: Source) -> Iterator[pa.NativeFile]:
    """The file, unpacked. Raises FunnelError for whatever goes wrong while it is open: the file is
    not whole, or not of its format.
    """
    packed = "" if source.compression == "none" else f", {source.compression}"
    try:
        with FileSystems.open(
            source.path, compression_type=CompressionTypes.UNCOMPRESSED
        ) as handle:
            file = pa.PythonFile(handle, mode="r")
            yield pa.CompressedInputStream(file, source.compression) if packed else file
    except UNREADABLE as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise FunnelError(
            f"{source.path}: cannot be read as {source.format}{packed} ({first_line}); is the file whole, and of this format?"
        ) from error


def _below(path: str, pattern: str) -> str:
    """The path below the directories that the pattern writes out: 'logs/*/a.csv' matching
    'logs/x/a.csv' → 'x/a.csv'.
    """
    parts = pattern.split("/")
    wild = next(
        (i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts) - 1
    )
    fixed = "".join(part + "/" for part in parts[:wild])
    return path.removeprefix(fixed)
