"""Shards → batches of tensors by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.layouts import ArrayKey, array_keys, row_keys
from features.manifest import read_manifest
from features.spec import Spec
from model.data.checksums import Verifier
from model.data.remote_cache import RemoteDirectory, is_remote

InputFn = Callable[[tf.distribute.InputContext], tf.data.Dataset]
READ_AT_ONCE = 4  # shards
BLOCK = 8  # rows that are shuffled together, at the cost of one
BLOCKS = (
    1000  # with fewer in the buffer each row is shuffled by itself, since blocks are too coarse
)
COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}  # tf.data's names
DTYPES = {"int64": tf.int64, "float": tf.float32, "bytes": tf.string}


class Data:
    """A preprocessed directory, checked against the spec and its own manifest.

    Args:
        source: its path, or the address of a remote one, as s3://bucket/ads/data; see
            model.data.remote_cache.
        spec: features, labels and tasks.
        cache_gib: how much of remote directories is kept on this machine.
        verify: compares each file with its checksum in the manifest before it is first read.

    Raises:
        FunnelError: it is absent, was made with another spec, lacks bytes that its manifest lists,
            has another checksum than that, or a split is empty.

    Example:
        data = Data("runs/mine/data", spec)
        input_fn = data.train_input(batch_size=4096, shuffle_buffer=10_000, seed=1)
    """

    def __init__(
        self, source: Path | str, spec: Spec, cache_gib: float = 50.0, *, verify: bool = False
    ) -> None:
        self.remote = RemoteDirectory(str(source), cache_gib) if is_remote(source) else None
        self.directory, self.spec = self.remote.directory if self.remote else Path(source), spec
        self.manifest = read_manifest(self.directory)
        self._verifier = Verifier(self.directory, self.manifest, self.remote) if verify else None
        if self._verifier is not None:
            self._verifier.verify_small()
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
        return self.in_order("eval", batch_size=batch_size)

    def in_order(self, split: str, *, batch_size: int) -> InputFn:
        """An input_fn of every row of a split, once and in order. The last batch may be smaller."""
        return lambda context: self._parsed(
            self._records(self._own(context, split)).batch(batch_size)
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
        paths = (
            self.remote.stage(own)
            if self.remote
            else [str(self.directory / shard["file"]) for shard in own]
        )
        if self._verifier is not None:
            self._verifier.verify([shard["file"] for shard in own])
        return paths

    def _records(self, files: list[str] | tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(
            files, compression_type=COMPRESSION_TYPES[self.manifest["compression"]]
        )

    def _parsed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map(self.parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples [B] → {"ids": [B, S], "dense": [B, D], "id": [B], each label:
        [B]}, and "weight" [B] where rows have one.
        """
        rows = row_keys(self.spec, weighted=self.manifest["weighted"])
        arrays = array_keys(self.manifest["layout"], self.spec)
        parsing = {
            name: tf.io.FixedLenFeature([], DTYPES[kind], 1.0 if name == "weight" else None)
            for name, kind in rows.items()
        }
        parsed = tf.io.parse_example(examples, parsing | {key.key: _parsing(key) for key in arrays})
        size = tf.size(examples)
        return {name: parsed[name] for name in rows} | {
            "ids": _array("ids", arrays, parsed, size, tf.int64),
            "dense": _array("dense", arrays, parsed, size, tf.float32),
        }


def _parsing(key: ArrayKey) -> tf.io.FixedLenFeature | tf.io.RaggedFeature:
    if key.shape is None:
        return tf.io.RaggedFeature(DTYPES[key.kind])
    return tf.io.FixedLenFeature([key.slots.length], DTYPES[key.kind])


def _array(
    name: str,
    keys: list[ArrayKey],
    parsed: dict[str, tf.Tensor],
    rows: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    """[rows, width] an array from the keys that hold its columns, lists padded."""
    own = sorted((key for key in keys if key.array == name), key=lambda key: key.slots.start)
    columns = [
        parsed[key.key].to_tensor(key.padding, shape=[None, key.slots.length])
        if key.shape is None
        else parsed[key.key]
        for key in own
    ]
    return columns[0] if len(columns) == 1 else tf.concat([tf.zeros([rows, 0], dtype), *columns], 1)
