"""A tiny preprocessed directory for the model's tests: raw rows of a learnable funnel, written by
the pipeline's own pieces.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from features import arrays
from features.fitted import Fitted
from features.manifest import VERSION
from features.spec import Spec
from model.config import ModelConfig
from model.data.input import Data
from model.estimator.checkpoint_files import listed, step_of
from model.estimator.estimator import RankingEstimator
from model.estimator.ranking_config import RankingConfig
from model.estimator.session import Trained
from model.training.config import RunConfig, TrainConfig
from model.training.progress import Callback
from pipeline.output.examples import Rows
from pipeline.output.publish import write_json
from pipeline.output.shards import shard_name, write_shard
from pipeline.sources.vocabularies import read_vocabularies
from pipeline.statistics.fit import fit
from pipeline.statistics.partitions import fold, partition_statistics
from pipeline.statistics.sample import SplitRows

LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "convert": {"event": "conversions", "within": "1d", "after": "click"},
}
TASKS = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}
DWELL = {  # sections of a spec with a number besides
    "labels": LABELS | {"dwell": {"event": "clicks", "value": "seconds", "after": "click"}},
    "tasks": TASKS | {"dwell": {"label": "dwell", "given": "click"}},
}
FEATURES = {
    "user": {"kind": "categorical", "buckets": 40, "dim": 4},
    "item": {"kind": "categorical", "buckets": 30, "dim": 4, "dtype": "int64"},
    "tags": {"kind": "categorical", "buckets": 20, "dim": 2, "max_length": 3},
    "recent": {"kind": "sequence", "column": "tags", "max_length": 2, "shares": "tags"},
    "user_x_tags": {
        "kind": "cross",
        "of": ["user", "tags"],
        "buckets": 60,
        "dim": 2,
        "max_length": 4,
        "pooling": "sum",
    },
    "price": {"kind": "numeric", "transform": "log1p"},
    "age": {"kind": "numeric"},
}
EVERY_KIND = {  # of feature, over the same raw columns
    "user": {"kind": "categorical", "min_count": 8, "dim": 4},
    "item": {"kind": "categorical", "column": "shelf", "buckets": 20, "identity": True, "dim": 4},
    "position": {"kind": "categorical", "buckets": 9, "dim": 2, "serve": "1"},
    "tags": {
        "kind": "categorical",
        "buckets": 20,
        "dim": 2,
        "max_length": 3,
        "weights": "tag_weights",
        "pooling": "max",
    },
    "recent": {"kind": "sequence", "column": "tags", "max_length": 2, "shares": "tags"},
    "user_x_tags": {
        "kind": "cross",
        "of": ["user", "tags"],
        "buckets": 60,
        "dim": 2,
        "max_length": 4,
        "pooling": "sum",
    },
    "user_item": {"kind": "product", "of": ["user", "item"]},
    "hour": {"kind": "time", "column": "at", "part": "hour", "utc_offset": 2, "dim": 2},
    "weekday": {"kind": "time", "column": "at", "part": "weekday", "dim": 2},
    "price": {
        "kind": "numeric",
        "transform": "log1p",
        "missing": 5.0,
        "clip": [1, 50],
        "scale": "minmax",
    },
    "price_place": {"kind": "bucketized", "column": "price", "quantiles": 4, "dim": 2},
    "age_place": {"kind": "bucketized", "column": "age", "boundaries": [30, 60], "dim": 2},
    "bid": {"kind": "numeric", "column": "age", "scale": "none"},
}
SMALL = {  # options that make each architecture tiny
    "single_task": {"units": [6]},
    "shared_bottom": {"units": [6]},
    "asymmetric": {"units": [5, 3]},
    "customized": {"units": [5, 3]},
    "moe": {"experts": 2, "expert_units": [5, 4]},
    "mmoe": {"experts": 2, "expert_units": [5, 4]},
    "ml_mmoe": {"levels": 2, "experts": 2, "expert_units": [5, 4]},
    "cgc": {"shared_experts": 1, "task_experts": 2, "expert_units": [5, 4]},
    "ple": {"levels": 2, "shared_experts": 1, "task_experts": 2, "expert_units": [5, 4]},
    "cross_stitch": {"units": [5, 4]},
    "sluice": {"units": [4, 4], "orthogonality": 0.01},
    "mose": {"experts": 2, "lstm_units": 3},
}


def make_spec(**changes: object) -> Spec:
    """The funnel's spec; `changes` replace whole sections."""
    return Spec.parse({"features": FEATURES, "labels": LABELS, "tasks": TASKS} | changes)


def make_model(
    sharing: str = "mmoe", funnel: str = "independent", **options: object
) -> ModelConfig:
    """A tiny architecture; `options` are the sharing's."""
    return ModelConfig.parse(
        {
            "sharing": {"name": sharing} | SMALL[sharing] | options,
            "funnel": {"name": funnel, "tower_units": [3]},
        }
    )


def make_train(**changes: object) -> TrainConfig:
    plain = {"precision": "float32", "xla": False}  # nothing to compile
    return TrainConfig.parse({"batch_size": 16, "steps": 4, "shuffle_buffer": 50} | plain | changes)


def make_estimator(
    folder: Path, spec: Spec | None = None, model: ModelConfig | None = None, **train: object
) -> Run:
    """A run over folder/data and folder/model; `train` are changes of TrainConfig and RunConfig."""
    return Run(
        folder / "data", folder / "model", spec or make_spec(), model or make_model(), **train
    )


class Run(RankingEstimator):
    """An estimator that knows its data: train(), predict() and so on take no input_fn."""

    def __init__(
        self,
        data_dir: Path,
        model_dir: Path,
        spec: Spec,
        model: ModelConfig,
        *,
        from_scratch: bool = False,
        **train: object,
    ) -> None:
        run = {name: train.pop(name) for name in list(train) if name in RunConfig.model_fields}
        others = {name: train.pop(name) for name in ("warm_start", "warn") if name in train}
        settings, self.data = make_train(**train), Data(data_dir, spec)
        run_config = RunConfig.parse({"log_every": 100, "async_checkpoints": False} | run)
        super().__init__(
            RankingConfig.of(self.data, model, settings),
            model_dir,
            run_config,
            from_scratch=from_scratch,
            **others,
        )
        self.total = settings.total_steps(self.data.rows("train"))
        self.train_input = self.data.train_input(
            batch_size=settings.batch_size,
            shuffle_buffer=settings.shuffle_buffer,
            seed=settings.seed,
        )
        self.eval_input = self.data.eval_input(batch_size=settings.batch_size)

    def latest_step(self) -> int:
        """The step of the newest checkpoint, 0 without any."""
        return max(map(step_of, listed(self.checkpoint_dir)), default=0)

    def train(self, *callbacks: Callback) -> Trained:
        return super().train(self.train_input, max_steps=self.total, callbacks=callbacks)

    def predict(self) -> dict[str, np.ndarray]:
        return super().predict(self.eval_input)

    def evaluate(self) -> dict:
        return self.measure(self.predict())

    def health(self) -> dict:
        return super().health(self.eval_input)


def batches(data: Data, size: int, *, split: str = "train") -> tf.data.Dataset:
    """Batches of a split, as one process reads them; those of training without end."""
    make = (
        data.train_input(batch_size=size, shuffle_buffer=1000, seed=1)
        if split == "train"
        else data.eval_input(batch_size=size)
    )
    return make(tf.distribute.InputContext())


def raw_rows(count: int, seed: int = 0) -> tuple[dict[str, list], dict[str, np.ndarray]]:
    """(columns by name, labels by name): users and items of even number click more, tag "buy"
    converts; some labels unknown.
    """
    rng = np.random.default_rng(seed)
    user, item, price = (
        rng.integers(0, 12, count),
        rng.integers(0, 9, count),
        rng.lognormal(2, 1, count),
    )
    tags = [
        rng.choice(["buy", "a", "b", "日本"], size, replace=False).tolist()
        for size in rng.integers(0, 4, count)
    ]
    columns = {
        "user": [None if u == 11 else f"u{u}" for u in user],
        "item": [int(i) - 4 for i in item],
        "tags": [None if n % 50 == 7 else t for n, t in enumerate(tags)],
        "price": [None if n % 9 == 4 else float(p) for n, p in enumerate(price)],
        "age": [float(a) for a in rng.integers(18, 80, count)],
    }
    columns["shelf"] = [i + 4 for i in columns["item"]]
    columns["tag_weights"] = [t and [0.5 + len(one) for one in t] for t in columns["tags"]]
    columns["at"] = [n * 7919 for n in range(count)]
    columns["position"] = [str(n % 7) for n in range(count)]
    click = rng.random(count) < np.where((user % 2 == 0) & (item % 2 == 0), 0.95, 0.15)
    convert = click & (
        rng.random(count) < [0.9 if "buy" in (t or []) else 0.1 for t in columns["tags"]]
    )
    unknown = rng.random(count) < 0.1  # a conversion whose window is open: click known, convert not
    labels = {
        "click": click.astype(np.int8),
        "convert": np.where(unknown & click, -1, convert).astype(np.int8),
    }
    labels["dwell"] = np.where(click, 1 + user % 3, 0).astype(
        np.float32
    )  # 1, 2 or 3 by the user, 0 without a click
    labels["click"][::41] = labels["convert"][::41] = labels["dwell"][::41] = -1
    return columns, labels


def arrow(spec: Spec, columns: dict[str, list]) -> dict[str, pa.Array]:
    return {
        name: pa.array(columns[name], arrays.ARROW_TYPES[raw_type])
        for name, raw_type in spec.columns.items()
    }


def write_data(
    folder: Path,
    spec: Spec | None = None,
    *,
    train: int = 200,
    evaluate: int = 60,
    shards: int = 2,
    labels: dict | None = None,
    weights: np.ndarray | None = None,
    **output: str,
) -> Path:
    """Writes folder/data as preprocessing does, with ids "0", "1", …, training rows first; returns
    its path.

    `labels` {name: value of every row} replace the drawn ones; `weights` are those of all rows;
    `output`: layout, compression.
    """
    spec, out, total = spec or make_spec(), folder / "data", train + evaluate
    output = {"layout": "packed", "compression": "none"} | output
    columns, drawn = raw_rows(total)
    drawn |= {
        name: np.full(total, value, np.float32 if spec.labels[name].is_number else np.int8)
        for name, value in (labels or {}).items()
    }
    encoded = arrays.encode(spec, arrow(spec, columns))
    row_ids = pa.array([str(n) for n in range(total)])
    rows = Rows(
        encoded.ids, encoded.dense, {name: drawn[name] for name in spec.labels}, weights, row_ids
    )
    manifest = {
        "version": VERSION,
        **output,
        "weighted": weights is not None,
        "fingerprint": spec.fingerprint,
    }
    manifest |= {"rows": {"examples_written": total}, "shards": {}}
    for split, own in (("train", rows[:train]), ("eval", rows[train:])):
        manifest["shards"][split] = []
        ends = np.linspace(0, len(own), shards + 1).astype(int)
        for index, (start, end) in enumerate(itertools.pairwise(ends)):
            file = shard_name(split, index, shards, output["compression"])
            shard = write_shard(out / file, spec, own[start:end], **output)
            manifest["shards"][split].append({"file": file, **shard})
    fit_training(spec, rows[:train]).save(out / "fitted.json")
    spec.save(out / "spec.json")
    pq.write_table(pa.table(arrow(spec, columns)).slice(0, 40), out / "sample.parquet")
    write_json(out / "manifest.json", manifest)
    return out


def fit_training(spec: Spec, rows: Rows) -> Fitted:
    """What the pipeline takes from these training rows."""
    split = SplitRows(
        rows.ids,
        rows.dense,
        rows.labels,
        np.zeros(len(rows), np.int64),
        np.arange(len(rows), dtype=np.uint64),
    )
    whole = fold([partition_statistics(spec, {"train": split, "eval": split})])
    return fit(spec, whole, read_vocabularies(spec))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def upload(put: Callable[[str, bytes], object], folder: Path, prefix: str) -> None:
    """Puts every file below a folder under keys of a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
