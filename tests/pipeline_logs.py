"""Literal logs for tests: rows in, a preprocessed directory out, read back by name."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: F401  (its protos share a pool with tf.Example's)
from tfx_bsl.coders import example_coder

from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.job import preprocess

FEATURES = {
    "user": {"kind": "categorical", "buckets": 100},
    "tags": {"kind": "categorical", "buckets": 50, "max_length": 2},
    "price": {"kind": "numeric", "transform": "log1p"},
}
LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "convert": {"event": "conversions", "within": "1d", "after": "click"},
}
TASKS = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}


def write_jsonl(path: Path, rows: list[dict | str | bytes]) -> None:
    """Objects are dumped, texts and bytes written as they are; .gz compresses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        r if isinstance(r, bytes) else (r if isinstance(r, str) else json.dumps(r)).encode()
        for r in rows
    ]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def make_config(folder: Path, **changes: object) -> PreprocessConfig:
    """Three JSONL streams below `folder`; `changes` replace whole sections (logs, features, labels,
    tasks, split, output).
    """
    streams = {
        "impressions": {"files": f"{folder}/impressions*", "id": "id", "time": "ts"},
        "clicks": {"files": f"{folder}/clicks*", "id": "id", "time": "ts"},
        "conversions": {"files": f"{folder}/conversions*", "id": "id", "time": "ts"},
    }
    spec = {
        key: changes.pop(key, default)
        for key, default in [("features", FEATURES), ("labels", LABELS), ("tasks", TASKS)]
    }
    defaults = {
        "logs": streams,
        "split": {"eval": {"fraction": 0.5}},
        "output": {"shards": 2, "max_rejects": 1.0},
    }
    return PreprocessConfig.parse(defaults | changes | {"spec": Spec.parse(spec)})


def write_logs(folder: Path, impressions: list, clicks: list = (), conversions: list = ()) -> None:
    write_jsonl(folder / "impressions.jsonl", impressions)
    write_jsonl(folder / "clicks.jsonl", clicks)
    write_jsonl(folder / "conversions.jsonl", conversions)


def run(folder: Path, **changes: object) -> tuple[dict, dict[str, dict]]:
    """Preprocesses: (manifest, every example by id, each with its split)."""
    manifest = preprocess(make_config(folder, **changes), folder / "data")
    return manifest, read_examples(folder / "data")


def read_examples(data: Path) -> dict[str, dict]:
    """Every example by its id: {name: list of values} and its split."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    found = {}
    for split in ("train", "eval"):
        for path in sorted((data / split).glob("*.tfrecord*")):
            held = records(path)
            for row in decoder.DecodeBatch(held).to_pylist() if held else []:
                values = {k: v[0] if k not in ("ids", "dense") else v for k, v in row.items()}
                key = values.pop("id").decode()
                assert key not in found, f"{key} occurs twice"
                found[key] = values | {"split": split}
    return found


def records(path: Path) -> list[bytes]:
    """The records of a TFRecord file, by its framing."""
    data, at, result = path.read_bytes(), 0, []
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        result.append(data[at + 12 : at + 12 + length])
        at += length + 16
    return result


def rejects(data: Path, stream: str) -> list[tuple[str, int, str]]:
    """(file, line, reason) of each reject of a stream."""
    path = data / "rejects" / f"{stream}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(r["file"], r["line"], r["reason"]) for r in rows]


def same(left: list[float], right: list[float]) -> bool:
    return bool(np.allclose(left, right, equal_nan=True))
