"""Globs → the list of files to read, with names that do not depend on where the logs lie."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from features.errors import FunnelError
from pipeline.config import PreprocessConfig, Stream

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


@dataclass(frozen=True)
class Source:
    """One file of a stream. `name` is its path below the fixed part of the glob; `evaluate` says it belongs to the eval split."""

    stream: str
    path: str
    name: str
    size: int
    format: str
    evaluate: bool = False
    updated: float | None = None  # seconds since 1970, where the filesystem tells

    @property
    def gzipped(self) -> bool:
        return self.path.endswith(".gz")


def find_sources(config: PreprocessConfig) -> list[Source]:
    """Every file of every stream, in the order of the streams and of the names. Raises FunnelError for a glob without files."""
    sources = [s for name, stream in config.logs.items() for s in find(f"logs.{name}.files", name, stream, stream.files)]
    if config.split.eval.files is not None:
        rows = config.rows
        sources += find("split.eval.files", rows, config.logs[rows], config.split.eval.files, evaluate=True)
        paths = Counter(os.path.abspath(s.path) for s in sources if s.stream == rows)
        twice = next((path for path, count in paths.items() if count > 1), None)
        if twice:
            raise FunnelError(f"{twice}: matched both by logs.{rows}.files and by split.eval.files; a row trains or evaluates, not both")
    return sources


def find(key: str, name: str, stream: Stream, patterns: str | list[str], *, evaluate: bool = False) -> list[Source]:
    """The files of one or several globs. `key` is what an error calls them."""
    found = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        remote = "://" in pattern
        try:
            # Beam finds nothing for a relative pattern that begins with a wildcard; "./" before an absolute one is dropped by join.
            matches = FileSystems.match([pattern if remote else os.path.join("./", pattern)])[0].metadata_list
        except BeamIOError as error:
            raise FunnelError(f"{key} = '{pattern}': cannot be listed ({error})") from None
        if not matches:
            raise FunnelError(f"{key} = '{pattern}': no file matches; relative paths start at the current directory")
        for match in matches:
            path, declared = (match.path, pattern) if remote else map(os.path.normpath, (match.path, pattern))
            format_ = stream.format or format_of(key, path)
            found[path] = Source(name, path, _below(path, declared), match.size_in_bytes, format_, evaluate, match.last_updated_in_seconds)
    return sorted(found.values(), key=lambda s: (s.name, s.path))


def format_of(key: str, path: str) -> str:
    """The format told by a file's ending, .gz apart."""
    ending = "." + path.removesuffix(".gz").rpartition("/")[2].rpartition(".")[2]
    if ending not in ENDINGS:
        raise FunnelError(
            f"{key}: the ending of '{path}' tells no format; give format = 'parquet', 'csv' or 'jsonl', or '{path}/*' if it is a directory"
        )
    return ENDINGS[ending]


def _below(path: str, pattern: str) -> str:
    """The path below the directories that the pattern writes out: 'logs/*/a.csv' matching 'logs/x/a.csv' → 'x/a.csv'."""
    parts = pattern.split("/")
    wild = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts) - 1)
    fixed = "".join(part + "/" for part in parts[:wild])
    return path.removeprefix(fixed)
