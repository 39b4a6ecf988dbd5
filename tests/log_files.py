"""Small log files of any format, and what the reader makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Stream
from pipeline.rows.batch import ColumnRequest
from pipeline.rows.read import check_columns, read
from pipeline.sources.files import find
from pipeline.sources.pieces import pieces

T0 = 1_790_000_000  # 2026-09-21T14:13:20Z, in seconds
COLUMNS = {"user": "text", "n": "number"}
FORMATS = ("parquet", "csv", "jsonl")


def request_of(columns: dict[str, str]) -> ColumnRequest:
    return ColumnRequest(tuple(columns.items()))


def read_file(
    path: Path, wanted: dict[str, str] | ColumnRequest | None = None, /, **stream: object
) -> tuple[dict, list, int]:
    """({position: values of the valid rows by column}, [(position, reason)], rows read) of one
    file, in pieces as the job reads it.
    """
    settings = Stream(**{"files": str(path), "id": "id", "time": "ts"} | stream)
    if not isinstance(wanted, ColumnRequest):
        wanted = request_of(COLUMNS if wanted is None else wanted)
    (source,) = find("logs.impressions.files", "impressions", settings, settings.files)
    check_columns([source], settings, wanted)
    rows, rejected, count = {}, [], 0
    for piece in pieces(source, settings):
        for batch in read(piece, settings, wanted):
            values = {
                name.rpartition(":")[2]: column.to_pylist()
                for name, column in batch.columns.items()
            }
            for at, position in enumerate(batch.positions.tolist()):
                assert position not in rows
                rows[position] = {name: column[at] for name, column in values.items()}
            assert {reject.file for reject in batch.rejects} <= {path.name}
            assert all((reject.byte is None) != piece.by_bytes for reject in batch.rejects)
            shown = [vars(r) for r in batch.rejects]
            assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown
            rejected += [(r.line if r.byte is None else r.byte, r.reason) for r in batch.rejects]
            count += batch.rows_read
    assert count == len(rows) + len(rejected)
    return rows, sorted(rejected), count


def write(folder: Path, kind: str, records: list[dict], schema: dict | None = None) -> Path:
    """Writes the records as Parquet, CSV or JSONL; bytes that are not UTF-8 stay as they are."""
    path = folder / f"log.{kind}"
    names = list(records[0])
    if kind == "parquet":
        pq.write_table(
            pa.table({n: pa.array([r[n] for r in records], (schema or {}).get(n)) for n in names}),
            path,
        )
    elif kind == "csv":
        lines = [",".join(names)] + [
            ",".join("" if r[n] is None else str(r[n]) for n in names) for r in records
        ]
        path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    else:
        path.write_bytes(
            b"".join(json.dumps(r, ensure_ascii=False).encode("latin-1") + b"\n" for r in records)
        )
    return path


def first_line(kind: str) -> int:
    return 2 if kind == "csv" else 1
