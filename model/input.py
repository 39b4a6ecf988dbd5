"""Shards → batches of tensors by name."""

from __future__ import annotations

import json
from pathlib import Path

import tensorflow as tf

from features.errors import FunnelError
from features.spec import Spec

READ_AT_ONCE = 4  # shards


class Data:
    """A preprocessed directory, checked against the spec and its own manifest.

    Raises FunnelError when it is absent, was made with another spec, or lacks bytes that its manifest lists.
    """

    def __init__(self, directory: Path, spec: Spec) -> None:
        self.directory, self.spec = directory, spec
        try:
            self.manifest = json.loads((directory / "manifest.json").read_text())
            self.statistics = json.loads((directory / "statistics.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise FunnelError(f"{directory}: is not a preprocessed directory ({error}); run `funnel preprocess` first") from None
        if self.manifest["fingerprint"] != spec.fingerprint:
            raise FunnelError(
                f"{directory}: was made with another spec (fingerprint {self.manifest['fingerprint']}, the configuration's is "
                f"{spec.fingerprint}): features or labels have changed; run `funnel preprocess` again"
            )
        for split in ("train", "eval"):
            self._check_shards(split)

    def _check_shards(self, split: str) -> None:
        for shard in self.manifest["shards"][split]:
            path = self.directory / shard["file"]
            size = path.stat().st_size if path.exists() else None
            if size != shard["bytes"]:
                raise FunnelError(f"{path}: has {size} bytes, its manifest says {shard['bytes']}; preprocess again, or copy it whole")
        if not self.rows(split):
            raise FunnelError(f"{self.directory}: its {split} split is empty; choose another split.eval and preprocess again")

    def rows(self, split: str) -> int:
        return sum(s["rows"] for s in self.manifest["shards"][split])

    def files(self, split: str) -> list[str]:
        return [str(self.directory / s["file"]) for s in self.manifest["shards"][split]]

    @property
    def moments(self) -> dict[str, tuple[float, float]]:
        """(mean, deviation) of every standardised number, over the training split."""
        features = self.statistics["features"]
        return {n: (features[n]["mean"], features[n]["deviation"]) for n in self.spec.numeric}

    def train(self, batch_size: int, shuffle_buffer: int, seed: int) -> tf.data.Dataset:
        """Endless full batches, shuffled anew each epoch. The files' rows are in random order already."""
        files = tf.data.Dataset.from_tensor_slices(self.files("train")).shuffle(len(self.files("train")), seed)
        rows = files.interleave(tf.data.TFRecordDataset, cycle_length=READ_AT_ONCE)
        rows = rows.shuffle(shuffle_buffer, seed).repeat()
        return self._parsed(rows, batch_size).prefetch(2)

    def evaluation(self, batch_size: int) -> tf.data.Dataset:
        """Every row of the eval split once, in order; the last batch may be smaller."""
        return self._parsed(tf.data.TFRecordDataset(self.files("eval")), batch_size).prefetch(2)

    def _parsed(self, rows: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        return rows.batch(batch_size).map(self.parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Examples [B] → {"ids": [B, S], "dense": [B, D], "id": [B], each label: [B]}."""
        spec = self.spec
        layout = {name: tf.io.FixedLenFeature([], tf.int64) for name in spec.labels}
        layout["id"] = tf.io.FixedLenFeature([], tf.string)
        if spec.ids_width:
            layout["ids"] = tf.io.FixedLenFeature([spec.ids_width], tf.int64)
        if spec.dense_width:
            layout["dense"] = tf.io.FixedLenFeature([spec.dense_width], tf.float32)
        parsed = tf.io.parse_example(examples, layout)
        rows = tf.size(examples)
        return {"ids": tf.zeros([rows, 0], tf.int64), "dense": tf.zeros([rows, 0])} | parsed
