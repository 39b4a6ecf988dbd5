"""Cases of tests/random_logs.py as files and a configuration."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.settings import format_duration
from features.spec import Spec
from pipeline.config import PreprocessConfig

UNPARSED = {"jsonl": "not a JSON object", "csv": "1 values, expected {}"}
OWN = {"id": "text", "ts": "time", "bytes": "int", "user": "text", "text": "text"}
NUMBERS = {"v": "number", "of": "number"}
EVENT = {"id": "text", "ts": "time", "key": "text"}
ARROW = {"text": pa.string(), "int": pa.int64(), "number": pa.float64()}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def columns_of(case: dict[str, Any], name: str) -> dict[str, str]:
    """The columns of a stream's files, and what they hold."""
    return (OWN if name == next(iter(case["logs"])) else EVENT) | NUMBERS


def without_faults(case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Counter[str]]]:
    """The case without the rows that must be rejected, and their reasons by stream."""
    good, rejected = {}, {}
    for name, rows in case["rows"].items():
        read = {"id", "ts"}
        for label in case["labels"].values():
            read |= {label["value"], label["of"]} if label["stream"] == name else set()
        good[name] = [row for row in rows if row["fault"][0] not in read]
        reasons = [row["fault"][1] for row in rows if row["fault"][0] in read]
        plain = case["logs"][name]["format"].partition(".")[0]
        text = UNPARSED.get(plain, "").format(len(columns_of(case, name)))
        rejected[name] = Counter(text if why == "unparsed" else why for why in reasons)
    return case | {"rows": good}, rejected


def write_files(case: dict[str, Any], folder: Path) -> None:
    """Writes every stream below `folder`: <stream>/<file>.<format>, and eval/."""
    for name, rows in case["rows"].items():
        by_file: dict[tuple[str, int], list[dict[str, Any]]] = {(name, 0): []}
        for row in rows:
            where = "eval" if row.get("evaluate") else name
            by_file.setdefault((where, row["file"]), []).append(row)
        if case["eval"]["files"] and name == next(iter(case["logs"])):
            by_file.setdefault(("eval", 0), [])
        for (where, number), some in by_file.items():
            path = folder / where / f"{number}.{case['logs'][name]['format']}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, some, columns_of(case, name), case["logs"][name]["time"])


def configuration(case: dict[str, Any], folder: Path) -> PreprocessConfig:
    """The configuration of a case whose files lie below `folder`."""
    logs, own = case["logs"], next(iter(case["logs"]))
    streams: dict[str, dict[str, Any]] = {}
    for name, stream in logs.items():
        streams[name] = {"files": f"{folder}/{name}/*", "id": "id", "time": "ts", "missing": ["NA"]}
        streams[name] |= {key: stream[key] for key in ("via", "touch") if stream[key]}
        streams[name] |= {"slack": duration(stream["slack"])} if stream["slack"] else {}
        if name in [other["via"] for other in logs.values()]:
            streams[name]["key"] = "key"
    evaluation: dict[str, Any] = {}
    if case["eval"]["last"]:
        evaluation["last"] = duration(case["eval"]["last"])
    elif case["eval"]["files"]:
        evaluation["files"] = f"{folder}/eval/*"
    else:
        evaluation["fraction"] = case["eval"]["fraction"]
        evaluation |= {"by": case["eval"]["by"]} if case["eval"]["by"] != "id" else {}
    split = {"eval": evaluation, "immature": case["immature"]}
    if case["logs_end"]:
        split["logs_end"] = (EPOCH + timedelta(microseconds=case["logs_end"])).isoformat()
    labels = {name: _label(case, label, own) for name, label in case["labels"].items()}
    spec = {
        "features": {"bytes": {"kind": "categorical", "identity": True, "buckets": 1000}},
        "labels": labels,
        "tasks": {f"of_{name}": {"label": name} for name in labels},
    }
    sections = {"logs": streams, "split": split, "output": case["output"]}
    sections["sampling"] = {"negatives": case["negatives"]}
    return PreprocessConfig.parse(sections | {"spec": Spec.parse(spec)})


def duration(microseconds: int) -> str:
    return format_duration(timedelta(microseconds=microseconds))


def _label(case: dict[str, Any], label: dict[str, Any], own: str) -> dict[str, Any]:
    """A label as the configuration has it, without defaults."""
    if label["column"]:
        return {"column": label["column"], "equals": label["equals"]}
    held: dict[str, Any] = {}
    if label["stream"] != own:
        held = {key: label[key] for key in ("after", "take")} | {"event": label["stream"]}
        parent = case["labels"].get(label["after"])
        if label["within"] or not parent or parent["stream"] != label["stream"]:
            held["within"] = duration(label["within"])
    if label["value"]:
        held |= {key: label[key] for key in ("value", "of", "transform")}
        held |= {"at_least": label["at_least"]} if label["at_least"] else {}
        held |= {"clip": label["clip"]} if label["clip"][1] != float("inf") else {}
    return {key: value for key, value in held.items() if value is not None}


def _write(path: Path, rows: list[dict[str, Any]], columns: dict[str, str], time: str) -> None:
    if path.suffix == ".parquet":
        _write_parquet(path, rows, columns, time)
        return
    lines = _csv(rows, columns, time) if ".csv" in path.name else _jsonl(rows, columns, time)
    data = "".join(lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _jsonl(rows: list[dict[str, Any]], columns: dict[str, str], time: str) -> list[str]:
    """Nulls are left out but of the first line, so that every key occurs."""
    lines = []
    for number, row in enumerate(rows):
        held = {name: _shown(row[name], kind, time) for name, kind in columns.items()}
        held = {name: value for name, value in held.items() if value is not None or not number}
        unparsed = row["fault"][1] == "unparsed"
        lines.append(("{" if unparsed else json.dumps(held, ensure_ascii=False)) + "\n")
    return lines


def _csv(rows: list[dict[str, Any]], columns: dict[str, str], time: str) -> list[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(rows):
        held = [_shown(row[name], kind, time) for name, kind in columns.items()]
        missing = ("", "NA")[number % 2]
        unparsed = row["fault"][1] == "unparsed"
        writer.writerow(["oops"] if unparsed else [missing if v is None else v for v in held])
    return [text.getvalue()]


def _write_parquet(
    path: Path, rows: list[dict[str, Any]], columns: dict[str, str], time: str
) -> None:
    zones = {"iso": pa.timestamp("us"), "zone": pa.timestamp("us", "Asia/Tokyo")}
    kinds = ARROW | {"time": zones.get(time, pa.float64() if time == "s" else pa.int64())}
    found = {}
    for name, kind in columns.items():
        values = [row[name] for row in rows]
        if kind == "time" and time not in zones:
            values = [_shown(value, kind, time) for value in values]
        found[name] = pa.array(values, kinds[kind])
    pq.write_table(pa.table(found), path, row_group_size=7)


def _shown(value: Any, kind: str, time: str) -> Any:
    """A value as a text file holds it."""
    if kind != "time" or not isinstance(value, int):
        return value
    if time in ("iso", "zone"):
        zone = UTC if time == "iso" else timezone(timedelta(hours=5, minutes=30))
        at = (EPOCH + timedelta(microseconds=value)).astimezone(zone).isoformat()
        return at.removesuffix("+00:00") if time == "iso" else at
    whole, rest = divmod(value, {"s": 1_000_000, "ms": 1000, "us": 1}[time])
    return whole if not rest else value / {"s": 1e6, "ms": 1e3}[time]
