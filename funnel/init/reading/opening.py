"""Files of logs: opened decompressed; their format, from the extension and the first bytes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import BinaryIO

import pyarrow as pa

from features.errors import FunnelError
from features.files import check_file
from pipeline.sources.formats import FORMATS
from pipeline.sources.storage import COMPRESSIONS, UNREADABLE, Source, open_source

HEAD = 1 << 16  # bytes
LINES = 20
SEPARATORS = (",", "\t", ";", "|")
ONLY = "Parquet, CSV and JSON lines are read, also .gz and .zst"


@contextmanager
def open_file(source: Source) -> Iterator[tuple[pa.NativeFile, BinaryIO | None]]:
    """(the file decompressed, the local file as stored). Raises FunnelError where it fails."""
    if "://" in source.path:
        with open_source(source) as remote:
            yield remote, None
        return
    check_file(source.path)
    try:
        with open(source.path, "rb") as stored:
            raw = pa.PythonFile(stored, mode="r")
            plain = source.compression == "none"
            yield raw if plain else pa.CompressedInputStream(raw, source.compression), stored
    except PermissionError:
        raise FunnelError(
            f"{source.path}: cannot be read (permission denied); give yourself permission to read "
            "it"
        ) from None
    except UNREADABLE as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise FunnelError(
            f"{source.path}: cannot be read ({message}); is the file whole, and what its "
            f"extension says? {ONLY}"
        ) from None


def suffix(path: str) -> str:
    """The file extension, with that of the compression.

    Example:
        >>> suffix("logs/clicks.jsonl.gz"), suffix("v1.2/clicks")
        ('.jsonl.gz', '')
    """
    stem, last = os.path.splitext(PurePath(path).name)
    return os.path.splitext(stem)[1] + last if last.lower() in COMPRESSIONS else last


def known_format(path: str) -> str | None:
    """The format that a file's extension implies; None where none does."""
    ending = suffix(path).lower()
    for compression in COMPRESSIONS:
        ending = ending.removesuffix(compression)
    return next((name for name, format_ in FORMATS.items() if ending in format_.endings), None)


def sniff(source: Source) -> tuple[str, str]:
    """(format, separator between CSV values) of a file, from its first bytes.

    Raises:
        FunnelError: the file cannot be opened, or holds neither text nor Parquet.
    """
    path, head = source.path, _head(source)
    implied = known_format(path)
    if head[:4] == b"PAR1" or implied == "parquet":
        if head and head[:4] != b"PAR1":
            raise FunnelError(
                f"{path}: is not Parquet (it begins with {head[:4]!r}); {ONLY}, so rename it"
            )
        return "parquet", ","
    if b"\0" in head:
        raise FunnelError(
            f"{path}: is neither text nor Parquet (it begins with {head[:8]!r}); {ONLY}"
        )
    lines = head.decode("utf-8", "replace").splitlines()
    lines = [line for line in lines if line.strip()][:LINES]
    if implied == "jsonl" or (implied is None and lines and lines[0].lstrip().startswith("{")):
        return "jsonl", ","
    return "csv", _separator(lines)


def _separator(lines: list[str]) -> str:
    """The separator that cuts most of the lines into the same number of values, more than one."""
    best, most = ",", (0, 0)
    for separator in SEPARATORS:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        usual = max(set(counts), key=counts.count, default=1)
        score = (counts.count(usual) if usual > 1 else 0, usual)
        if score > most:
            best, most = separator, score
    return best


def _head(source: Source) -> bytes:
    with open_file(source) as (file, _):
        found: bytes = file.read(HEAD)
        return found
