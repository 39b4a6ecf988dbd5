"""Log files in any filesystem that Beam knows: listed by globs, opened decompressed.

Functions import Beam where they need it: the command line reads configurations without it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

import pyarrow as pa

from features.errors import FunnelError
from features.files import check_file
from pipeline.sources.listing import expand, skips
from pipeline.sources.probe import check_answers

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
CLIENTS = {"s3": ("boto3", "s3"), "gs": ("google.cloud.storage", "gcs")}  # with funnel's extra
Listed = tuple[str, int, float | None]  # path, bytes, seconds since 1970
# Of a truncated or foreign file. Beam's own BeamIOError is an OSError.
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError)


@dataclass(frozen=True)
class Source:
    """One file of a stream.

    `name` is its path below the fixed part of the glob, so it does not depend on where the logs
    lie. `evaluate` says that its rows belong to the eval split. `updated` is in seconds since 1970,
    None where the filesystem does not say.
    """

    stream: str
    path: str
    name: str
    size: int
    format: str
    evaluate: bool = False
    updated: float | None = None

    @property
    def compression(self) -> str:
        """none, gzip or zstd, inferred from the file extension; Parquet compresses inside."""
        return COMPRESSIONS.get(os.path.splitext(self.path)[1].lower(), "none")


def connect(beam_args: Iterable[str] = ()) -> None:
    """Passes options (--s3_endpoint_url …) to Beam's filesystems, which else get them only when a
    pipeline runs.
    """
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    FileSystems.set_options(PipelineOptions(list(beam_args)))


def list_sources(
    key: str,
    stream: str,
    patterns: str | list[str],
    format_of: Callable[[str], str],
    *,
    evaluate: bool = False,
) -> list[Source]:
    """The files that one or several globs match, ordered by name, without hidden ones.

    Args:
        key: the configuration key that an error names.
        stream: the stream that the files belong to.
        patterns: globs.
        format_of: the format of the file at a path.
        evaluate: whether the rows belong to the eval split.

    Raises:
        FunnelError: a glob cannot be listed or matches no file, or a folder or file below it
            cannot be read.
    """
    found = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        remote = "://" in pattern
        declared = pattern if remote else os.path.normpath(pattern)
        for path, size, updated in (_remote if remote else _local)(key, pattern):
            found[path] = Source(
                stream=stream,
                path=path,
                name=_below(path, declared),
                size=size,
                format=format_of(path),
                evaluate=evaluate,
                updated=updated,
            )
    return sorted(found.values(), key=lambda s: (s.name, s.path))


def _local(key: str, pattern: str) -> list[Listed]:
    # A directory by itself has no format, or cannot be read in the one declared.
    folder = os.path.isdir(pattern) and not pattern.endswith("/")
    found = [os.path.normpath(path) for path in expand(pattern, folders=folder)]
    if not found:
        remedy = "relative paths start at the current directory"
        if expand(pattern, folders=True):
            remedy = (
                f"only folders do; give '{pattern}{'*' * pattern.endswith('/')}/*' for their files"
            )
        raise FunnelError(f"{key} = '{pattern}': no file matches; {remedy}")
    return [(path, os.path.getsize(path), os.path.getmtime(path)) for path in found]


def _remote(key: str, pattern: str) -> list[Listed]:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    check_client(key, pattern)
    try:
        matches = FileSystems.match([pattern])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise FunnelError(f"{key} = '{pattern}': cannot be listed ({error})") from None
    files = (match for match in matches if not match.path.endswith("/"))  # markers of folders
    kept = [match for match in files if not skips(match.path, pattern)]
    if not kept:
        raise FunnelError(f"{key} = '{pattern}': no file matches")
    return [(match.path, match.size_in_bytes, match.last_updated_in_seconds) for match in kept]


@contextmanager
def open_source(source: Source) -> Iterator[pa.NativeFile]:
    """The file, decompressed.

    Raises:
        FunnelError: whatever fails to be read while the file is open: it is truncated, or of
            another format; or it is a FIFO, a device or a socket, which is not opened.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    compression = source.compression
    if "://" not in source.path:
        check_file(source.path)
    try:
        with FileSystems.open(
            source.path, compression_type=CompressionTypes.UNCOMPRESSED
        ) as handle:
            file = pa.PythonFile(handle, mode="r")
            yield file if compression == "none" else pa.CompressedInputStream(file, compression)
    except UNREADABLE as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        shown = source.format if compression == "none" else f"{source.format}, {compression}"
        raise FunnelError(
            f"{source.path}: cannot be read as {shown} ({first_line}); "
            "is the file whole, and of this format?"
        ) from error
    except Exception as error:  # of the storage's client
        if not type(error).__module__.startswith(("apache_beam.io.", "botocore.", "google.")):
            raise
        cause = str(getattr(error, "message", None) or error).partition("\n")[0]
        raise FunnelError(
            f"{source.path}: cannot be read ({cause}); give yourself permission to read it, or "
            "name other files"
        ) from error


def check_client(key: str, pattern: str) -> None:
    """Raises FunnelError where Beam lacks the client of the pattern's storage, or the storage does
    not answer.
    """
    scheme = pattern.partition("://")[0]
    if scheme not in CLIENTS:
        return
    module, extra = CLIENTS[scheme]
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise FunnelError(
            f"{key} = '{pattern}': {error.name} is not installed; run pip install 'funnel[{extra}]'"
        ) from None
    check_answers(key, pattern)


def _below(path: str, pattern: str) -> str:
    """The path below the directories that the pattern spells out: 'logs/*/a.csv' matching
    'logs/x/a.csv' → 'x/a.csv'.
    """
    parts = pattern.split("/")
    wild = next(
        (i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts) - 1
    )
    fixed = "".join(part + "/" for part in parts[:wild])
    return path.removeprefix(fixed)
