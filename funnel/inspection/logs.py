"""The first rows of logs, with the types of their columns. Formats are those of the pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import FunnelError
from funnel.inspection.kinds import AMBIGUOUS, files_below, is_log
from funnel.inspection.text_logs import Head, csv_head, jsonl_head
from pipeline.config import Stream
from pipeline.sources.files import format_of
from pipeline.sources.formats import FORMATS
from pipeline.sources.listing import expand
from pipeline.sources.storage import COMPRESSIONS, UNREADABLE, Source, list_sources, open_source

COUNTED = 100  # Parquet files of a stream whose rows are summed


@dataclass(frozen=True)
class LogFiles:
    """Files that seem to have equal columns: those of one folder or name, in one format."""

    name: str
    format: str
    sources: list[Source]


def describe_logs(path: str, count: int) -> dict[str, Any]:
    """{streams: [{name, format, files, bytes, rows, first_file, columns, first_rows, notes}]}.

    Args:
        path: A file, a folder, a glob or the address of remote files.
        count: How many rows of each stream to read.

    Raises:
        FunnelError: No log is there, or the first one of a stream cannot be read.
    """
    streams = [_stream(found, count) for found in find_logs(path)]
    if not any(stream["columns"] for stream in streams):
        raise FunnelError(f"{path}: is empty, so it has no columns; give another file")
    return {"streams": streams}


def find_logs(path: str) -> list[LogFiles]:
    """The logs of a path by the folder below it that has no digits, as a day's folder has, or else
    by the beginning of their names.
    """
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in _sources(path):
        *folders, name = source.name.split("/")
        undated = (folder for folder in folders if not re.search(r"\d", folder))
        groups.setdefault((next(undated, _stem(name, Path(path).name)), source.format), []).append(
            source
        )
    return [LogFiles(name, format_, found) for (name, format_), found in groups.items()]


def _stem(name: str, otherwise: str) -> str:
    """A file's name before its first number or ending: 'clicks-00001-of-2.csv' → 'clicks'. A name
    that says nothing, as 'part-00001.csv', gives `otherwise`.
    """
    stem = re.split(r"[-_.]?\d|\.", name, maxsplit=1)[0]
    return otherwise if stem in ("", "part") else stem


def _sources(path: str) -> list[Source]:
    if "://" in path:
        return list_sources("inspect", "", path, lambda one: format_of("inspect", one))
    if os.path.isdir(path):
        files = (file for file in files_below(Path(path)) if file.suffix.lower() not in AMBIGUOUS)
        found = [(file, file.relative_to(path)) for file in files]
    else:
        names = [path] if os.path.exists(path) else expand(path)
        fixed = os.path.dirname(re.split(r"[*?\[]", path, maxsplit=1)[0])
        found = [(Path(name), Path(os.path.relpath(name, fixed or "."))) for name in names]
    logs = [(file, name) for file, name in found if is_log(file)]
    if not logs:
        raise FunnelError(
            f"{path}: no file matches that is a log: Parquet, CSV or JSON lines, the texts also "
            f"with {' or '.join(COMPRESSIONS)}; relative paths start at the current directory"
        )
    return [
        Source("", str(file), name.as_posix(), file.stat().st_size, format_of("inspect", str(file)))
        for file, name in logs
    ]


def _stream(logs: LogFiles, count: int) -> dict[str, Any]:
    """A file of no bytes has no columns to show, so the first one that has some is read."""
    first = next((source for source in logs.sources if source.size), logs.sources[0])
    head = _head(first, count) if first.size else Head({}, [])
    if not head.columns:
        head.notes.append(f"{first.path} is empty")
    return {
        "name": logs.name,
        "format": logs.format,
        "compression": first.compression,
        "files": len(logs.sources),
        "bytes": sum(source.size for source in logs.sources),
        "rows": _count(logs),
        "first_file": first.path,
        "columns": [{"name": name, "type": type_} for name, type_ in head.columns.items()],
        "first_rows": head.rows,
        "notes": head.notes,
    }


def _count(logs: LogFiles) -> int | None:
    """The rows of all files, where their metadata say: local Parquet."""
    paths = [source.path for source in logs.sources]
    if logs.format != "parquet" or len(paths) > COUNTED or any("://" in path for path in paths):
        return None
    try:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    except UNREADABLE:
        return None  # another file than the first is damaged


def _head(source: Source, count: int) -> Head:
    stream = Stream.parse({"files": source.path}, source.path)
    with _opened(source) as file:
        if source.format == "csv":
            return csv_head(file, stream, count)
        if source.format == "jsonl":
            return jsonl_head(file, source.path, count)
        if source.format == "parquet":  # not by ParquetFile, which reads 65,536 rows at least
            parquet = pq.ParquetFile(file)
            return _typed(parquet.schema_arrow, next(parquet.iter_batches(count), None), count)
        return _other_head(file, source, stream, count)


def _other_head(file: pa.NativeFile, source: Source, stream: Stream, count: int) -> Head:
    """Of a format that somebody added to FORMATS."""
    log = FORMATS[source.format](file, stream)
    names = log.names or []
    schema = pa.schema([(name, pa.string()) for name in names])
    parsed = next(log.read(dict.fromkeys(names, "text"), *(log.head or ())), None)
    table = parsed.table if parsed else None
    return _typed(table.schema if table else schema, table, count)


def _typed(schema: pa.Schema, rows: pa.Table | pa.RecordBatch | None, count: int) -> Head:
    """The types as Arrow names them; bytes are shown as texts."""
    columns = {field.name: str(field.type) for field in schema}
    first = rows.slice(0, count).to_pylist() if rows else []
    return Head(columns, [{name: _text(value) for name, value in row.items()} for row in first])


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


@contextmanager
def _opened(source: Source) -> Iterator[pa.NativeFile]:
    """The file, decompressed. A local one is opened without Beam, which takes a second to import.

    Raises:
        FunnelError: It cannot be read.
    """
    if "://" in source.path:
        with open_source(source) as file:
            yield file
        return
    compression = source.compression
    try:
        with pa.OSFile(source.path) as file:
            yield file if compression == "none" else pa.CompressedInputStream(file, compression)
    except UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        shown = source.format if compression == "none" else f"{source.format}, {compression}"
        raise FunnelError(
            f"{source.path}: cannot be read as {shown} ({reason}); copy the file again, or rename "
            "it to its format and compression"
        ) from None
