"""Shards → batches of tensors by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.manifest import read_manifest
from features.spec import Spec
from model.data.remote_cache import RemoteDirectory, is_remote

InputFn = Callable[[tf.distribute.InputContext], tf.data.Dataset]
READ_AT_ONCE = 4  # shards
BLOCK = 8  # rows that are shuffled together, at the cost of one
BLOCKS = (
    1000  # with fewer in the buffer each row is shuffled by itself, since blocks are too coarse
)
COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}  # tf.data's names


class Data:
    """A preprocessed directory, checked against the spec and its own manifest.

    Args:
        source: its path, or the address of a remote one, as s3://bucket/ads/data; see
            model.data.remote_cache.
        spec: features, labels and tasks.
        cache_gib: how much of remote directories is kept on this machine.

    Raises:
        FunnelError: it is absent, was made with another spec, lacks bytes that its manifest lists,
            or a split is empty.

    Example:
        data = Data("runs/mine/data", spec)
        input_fn = data.train_input(batch_size=4096, shuffle_buffer=10_000, seed=1)
    """

    def __init__(self, source: Path | str, spec: Spec, cache_gib: float = 50.0) -> None:
        self.remote = RemoteDirectory(str(source), cache_gib) if is_remote(source) else None
        self.directory, self.spec = self.remote.directory if self.remote else Path(source), spec
        self.manifest = read_manifest(self.directory)
        self.fitted = Fitted.load(self.directory / "fitted.json")
        if self.manifest["fingerprint"] != spec.fingerprint:
            raise FunnelError(
                f"{source}: was made with another spec (fingerprint "
                f"{self.manifest['fingerprint']}, the configuration's is "
                f"{spec.fingerprint}): features or labels have changed; run `funnel preprocess` "
                "again"
            )
        for split in ("train", "eval"):
            self._check_shards(split)

    def _check_shards(self, split: str) -> None:
        for shard in [] if self.remote else self.manifest["shards"][split]:
            path = self.directory / shard["file"]
            size = path.stat().st_size if path.exists() else None
            if size != shard["bytes"]:
                raise FunnelError(
                    f"{path}: has {size} bytes, its manifest says {shard['bytes']}; preprocess "
                    "again, or copy it whole"
                )
        if not self.rows(split):
            raise FunnelError(
                f"{self.directory}: its {split} split is empty; choose another split.eval and "
                "preprocess again"
            )

    @property
    def sample(self) -> Path:
        """A Parquet file of raw rows, with which an export is checked."""
        return self.directory / "sample.parquet"

    def rows(self, split: str) -> int:
        return sum(s["rows"] for s in self.manifest["shards"][split])

    def held_out(self, share: float) -> np.ndarray:
        """How many rows of each training shard are held out: the first, which have the smallest
        hashes.
        """
        return np.array(
            [math.ceil(share * shard["rows"]) for shard in self.manifest["shards"]["train"]],
            np.int64,
        )

    def train_input(
        self, *, batch_size: int, shuffle_buffer: int, seed: int, held_out: float = 0.0
    ) -> InputFn:
        """An input_fn of endless full batches, shuffled again in each epoch.

        The rows of the files are in random order already; of large splits neighbors are shuffled
        together.

        Args:
            batch_size: global; each worker reads its part.
            shuffle_buffer: rows.
            seed: of the shuffling.
            held_out: the share of the rows that is left out.
        """
        block = BLOCK if min(shuffle_buffer, self.rows("train")) >= BLOCKS * BLOCK else 1
        skipped = self.held_out(held_out)

        def input_fn(context: tf.distribute.InputContext) -> tf.data.Dataset:
            own = (
                self._own(context, "train"),
                skipped[context.input_pipeline_id :: context.num_input_pipelines],
            )
            files = tf.data.Dataset.from_tensor_slices(own).shuffle(len(own[0]), seed)
            rows = files.interleave(
                lambda file, out: self._records(file).skip(out).batch(block),
                cycle_length=READ_AT_ONCE,
            )
            rows = rows.shuffle(-(-shuffle_buffer // block), seed).repeat()
            return self._parsed(
                rows.rebatch(batch_size // context.num_input_pipelines, drop_remainder=True)
            )

        return input_fn

    def eval_input(self, *, batch_size: int) -> InputFn:
        """An input_fn of every row of the eval split, once and in order. The last batch may be
        smaller.
        """
        return lambda context: self._parsed(
            self._records(self._own(context, "eval")).batch(batch_size)
        )

    def held_out_input(self, *, batch_size: int, held_out: float) -> InputFn:
        """An input_fn of the held-out training rows, once and in order. The last batch may be
        smaller.
        """

        def input_fn(context: tf.distribute.InputContext) -> tf.data.Dataset:
            files = tf.data.Dataset.from_tensor_slices(
                (self._own(context, "train"), self.held_out(held_out))
            )
            return self._parsed(
                files.flat_map(lambda file, out: self._records(file).take(out)).batch(batch_size)
            )

        return input_fn

    def _own(self, context: tf.distribute.InputContext, split: str) -> list[str]:
        """The files that this worker reads, copied to the cache if they are remote."""
        shards, workers = self.manifest["shards"][split], context.num_input_pipelines
        if len(shards) < workers:
            raise FunnelError(
                f"{self.directory}: its {split} split has {len(shards)} shards for {workers} "
                "workers, each of which reads its own: preprocess with output.shards = "
                f"{workers} or more"
            )
        own = shards[context.input_pipeline_id :: workers]
        return (
            self.remote.stage(own)
            if self.remote
            else [str(self.directory / shard["file"]) for shard in own]
        )

    def _records(self, files: list[str] | tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(
            files, compression_type=COMPRESSION_TYPES[self.manifest["compression"]]
        )

    def _parsed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map(self.parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples [B] → {"ids": [B, S], "dense": [B, D], "id": [B], each label:
        [B]}, and "weight" where rows have one.
        """
        layout: dict[str, object] = {
            name: tf.io.FixedLenFeature([], tf.float32 if label.is_number else tf.int64)
            for name, label in self.spec.labels.items()
        }
        layout["id"] = tf.io.FixedLenFeature([], tf.string)
        if self.manifest["weighted"]:
            layout["weight"] = tf.io.FixedLenFeature([], tf.float32, 1.0)
        features = (
            _packed_features(self.spec)
            if self.manifest["layout"] == "packed"
            else _column_features(self.spec)
        )
        parsed = tf.io.parse_example(examples, layout | features)
        rows = tf.size(examples)
        if self.manifest["layout"] == "packed":
            return {"ids": tf.zeros([rows, 0], tf.int64), "dense": tf.zeros([rows, 0])} | parsed
        ids, dense = _from_columns(self.spec, parsed, rows)
        return {name: parsed[name] for name in layout} | {"ids": ids, "dense": dense}


def _packed_features(spec: Spec) -> dict[str, tf.io.FixedLenFeature]:
    ids = {"ids": tf.io.FixedLenFeature([spec.ids_width], tf.int64)} if spec.ids_width else {}
    return ids | (
        {"dense": tf.io.FixedLenFeature([spec.dense_width], tf.float32)} if spec.dense_width else {}
    )


def _column_features(spec: Spec) -> dict[str, tf.io.RaggedFeature]:
    ids = {name: tf.io.RaggedFeature(tf.int64) for name in spec.id_slots}
    numbers = [*spec.dense_slots, *(f"{name}_weights" for name in spec.weight_slots)]
    return ids | {name: tf.io.RaggedFeature(tf.float32) for name in numbers}


def _from_columns(
    spec: Spec, columns: dict[str, tf.RaggedTensor], rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns layout as ids [B, S] and dense [B, D] of the packed one: ids padded with 0,
    numbers with NaN, weights with 1.
    """

    def padded(name: str, length: int, padding: float) -> tf.Tensor:
        return columns[name].to_tensor(padding, shape=[None, length])

    ids = [padded(name, slots.length, 0) for name, slots in spec.id_slots.items()]
    dense = [padded(name, 1, float("nan")) for name in spec.dense_slots]
    dense += [
        padded(f"{name}_weights", slots.length, 1.0) for name, slots in spec.weight_slots.items()
    ]
    return tf.concat([tf.zeros([rows, 0], tf.int64), *ids], 1), tf.concat(
        [tf.zeros([rows, 0]), *dense], 1
    )
