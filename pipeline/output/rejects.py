"""Rejects → rejects/<stream>.jsonl: of each file and reason the first KEPT rows, by file and
position. Workers write them to the disk as they read; SQLite sorts them there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from pipeline.rows.batch import KEPT, Reject
from pipeline.sources.formats.lines import SHOWN
from pipeline.sources.storage import Source

PARTS = ".rejects"
KEPT_OF_EACH = """
SELECT file, reject FROM (
    SELECT *, row_number() OVER (PARTITION BY file, reason ORDER BY position, reject) AS nth
    FROM rejects
) WHERE nth <= ? ORDER BY file, position, reason, reject
"""


class RejectWriter:
    """Writes rejects of one piece, or one partition: of each file and reason the first KEPT.

    Args:
        out: the directory that the job writes.
        name: no two writers of a job may have one name.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._path = out / PARTS / f"{name}.jsonl"
        self._file: TextIO | None = None
        self._written: Counter[tuple[int, str]] = Counter()

    def __enter__(self) -> RejectWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, number: int, rejects: Iterable[Reject]) -> None:
        """Writes rejects of the file of this number, by position."""
        for reject in rejects:
            self._written[number, reject.reason] += 1
            if self._written[number, reject.reason] <= KEPT:
                fields = [number, reject.line, reject.byte, reject.reason, reject.value]
                self._opened().write(json.dumps(fields) + "\n")

    def _opened(self) -> TextIO:
        if self._file is None:
            self._path.parent.mkdir(exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")
        return self._file


def duplicate_rejects(rows: pa.Table) -> Iterator[tuple[int, Reject]]:
    """(number of the file, reject) of rows whose id another row has, by file and position; of each
    file the first KEPT. Their columns are file, position, by_bytes and id.
    """
    rows = rows.sort_by([("file", "ascending"), ("position", "ascending")])
    files = rows["file"].to_numpy()
    nth = np.arange(len(files)) - np.searchsorted(files, files)
    for row in rows.filter(pa.array(nth < KEPT)).to_pylist():
        line, byte = (None, row["position"]) if row["by_bytes"] else (row["position"], None)
        yield row["file"], Reject("", line, byte, "duplicate", row["id"][:SHOWN])


def join_rejects(out: Path, sources: Sequence[Source]) -> None:
    """Joins the parts into one file for each stream that has rejects, and removes them."""
    order = sorted(range(len(sources)), key=lambda n: (sources[n].stream, sources[n].name, n))
    rank = {number: at for at, number in enumerate(order)}
    parts = out / PARTS
    if not parts.exists():
        return
    with closing(sqlite3.connect(parts / "sorted")) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE rejects (file, position, reason, reject)")
        for part in sorted(parts.glob("*.jsonl")):
            with part.open(encoding="utf-8") as lines:
                rows = (_row(json.loads(line), rank) for line in lines)
                database.executemany("INSERT INTO rejects VALUES (?, ?, ?, ?)", rows)
        found = database.execute(KEPT_OF_EACH, [KEPT])
        kept = ((sources[order[at]], json.loads(reject)) for at, reject in found)
        for stream, rejects in groupby(kept, key=lambda found: found[0].stream):
            _write_stream(out, stream, rejects)
    shutil.rmtree(parts)


def _row(fields: list[Any], rank: dict[int, int]) -> tuple[int, int, str, str]:
    number, line, byte, reason, value = fields
    reject = {"line": line, "byte": byte, "reason": reason, "value": value}
    return rank[number], line if byte is None else byte, reason, json.dumps(reject)


def _write_stream(out: Path, stream: str, rejects: Iterable[tuple[Source, dict[str, Any]]]) -> None:
    path = out / "rejects" / f"{stream}.jsonl"
    path.parent.mkdir(exist_ok=True)
    # A file name that is not UTF-8 has half a surrogate pair, which JSON writes with a backslash.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for source, reject in rejects:
            file.write(json.dumps({"file": source.name} | reject, ensure_ascii=False) + "\n")
