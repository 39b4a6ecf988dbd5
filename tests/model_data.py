"""A tiny preprocessed directory for the model's tests: raw rows of a learnable funnel, written by the pipeline's own pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import arrays
from features.spec import Spec
from model.config import ModelConfig, TrainConfig
from model.estimator import RankingEstimator
from pipeline import publish, statistics, write

LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "convert": {"event": "conversions", "within": "1d", "after": "click"},
}
TASKS = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}
FEATURES = {
    "user": {"kind": "categorical", "buckets": 40, "dim": 4},
    "item": {"kind": "categorical", "buckets": 30, "dim": 4, "dtype": "int64"},
    "tags": {"kind": "categorical", "buckets": 20, "dim": 2, "max_length": 3},
    "user_x_tags": {"kind": "cross", "of": ["user", "tags"], "buckets": 60, "dim": 2, "max_length": 4, "pooling": "sum"},
    "price": {"kind": "numeric", "transform": "log1p"},
    "age": {"kind": "numeric"},
}
SMALL = {  # options that make each architecture tiny
    "single_task": {"units": [6]},
    "shared_bottom": {"units": [6]},
    "mmoe": {"experts": 2, "expert_units": [5, 4]},
    "ple": {"levels": 2, "shared_experts": 1, "task_experts": 2, "expert_units": [5, 4]},
}


def make_spec(**changes: object) -> Spec:
    """The funnel's spec; `changes` replace whole sections."""
    return Spec.parse({"features": FEATURES, "labels": LABELS, "tasks": TASKS} | changes)


def make_model(sharing: str = "mmoe", funnel: str = "independent", **options: object) -> ModelConfig:
    """A tiny architecture; `options` are the sharing's."""
    return ModelConfig.parse({"sharing": {"name": sharing} | SMALL[sharing] | options, "funnel": {"name": funnel, "tower_units": [3]}})


def make_train(**changes: object) -> TrainConfig:
    return TrainConfig.parse({"batch_size": 16, "steps": 4, "shuffle_buffer": 50, "log_every": 100} | changes)


def make_estimator(folder: Path, spec: Spec | None = None, model: ModelConfig | None = None, **train: object) -> RankingEstimator:
    """Reads folder/data, writes folder/model; `train` are TrainConfig's changes."""
    return RankingEstimator(spec or make_spec(), model or make_model(), make_train(**train), folder / "data", folder / "model")


def raw_rows(count: int, seed: int = 0) -> tuple[dict[str, list], dict[str, np.ndarray]]:
    """(columns by name, labels by name): users and items of even number click more, tag "buy" converts; some labels unknown."""
    rng = np.random.default_rng(seed)
    user, item, price = rng.integers(0, 12, count), rng.integers(0, 9, count), rng.lognormal(2, 1, count)
    tags = [rng.choice(["buy", "a", "b", "日本"], size, replace=False).tolist() for size in rng.integers(0, 4, count)]
    columns = {
        "user": [None if u == 11 else f"u{u}" for u in user],
        "item": [int(i) - 4 for i in item],
        "tags": [None if n % 50 == 7 else t for n, t in enumerate(tags)],
        "price": [None if n % 9 == 4 else float(p) for n, p in enumerate(price)],
        "age": [float(a) for a in rng.integers(18, 80, count)],
    }
    click = rng.random(count) < np.where((user % 2 == 0) & (item % 2 == 0), 0.95, 0.15)
    convert = click & (rng.random(count) < [0.9 if "buy" in (t or []) else 0.1 for t in columns["tags"]])
    unknown = rng.random(count) < 0.1  # a conversion whose window is open: click known, convert not
    labels = {"click": click.astype(np.int8), "convert": np.where(unknown & click, -1, convert).astype(np.int8)}
    labels["click"][::41] = labels["convert"][::41] = -1
    return columns, labels


def arrow(spec: Spec, columns: dict[str, list]) -> dict[str, pa.Array]:
    return {name: pa.array(columns[name], arrays.ARROW_TYPES[raw_type]) for name, raw_type in spec.columns.items()}


def write_data(
    folder: Path, spec: Spec | None = None, *, train: int = 200, evaluate: int = 60, shards: int = 2, labels: dict | None = None
) -> Path:
    """Writes folder/data as preprocessing does, with ids "0", "1", …, training rows first; returns its path.

    `labels` {name: value of every row} replace the drawn ones.
    """
    spec, out, total = spec or make_spec(), folder / "data", train + evaluate
    columns, drawn = raw_rows(total)
    drawn |= {name: np.full(total, value, np.int8) for name, value in (labels or {}).items()}
    encoded = arrays.encode(spec, arrow(spec, columns))
    row_ids = pa.array([str(n) for n in range(total)])
    manifest = {"layout": publish.LAYOUT_VERSION, "fingerprint": spec.fingerprint, "rows": {"examples_written": total}, "shards": {}}
    for split, rows in (("train", np.arange(train)), ("eval", np.arange(train, total))):
        manifest["shards"][split] = []
        for index, part in enumerate(np.array_split(rows, shards)):
            file, own = write.shard_name(split, index, shards), {name: drawn[name][part] for name in spec.labels}
            shard = write.write_shard(out / file, spec, encoded.ids[part], encoded.dense[part], own, row_ids.take(pa.array(part)))
            manifest["shards"][split].append({"file": file, **shard})
    partial = statistics.feature_partials(spec, encoded.ids[:train], encoded.dense[:train])
    write.write_json(out / "statistics.json", {"features": statistics.fold_features([partial])})
    spec.save(out / "spec.json")
    pq.write_table(pa.table(arrow(spec, columns)).slice(0, 40), out / "sample.parquet")
    write.write_json(out / "manifest.json", manifest)
    return out


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
