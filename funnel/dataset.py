"""A preprocessed directory: its rows, its features, and its examples by name."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import FunnelError, nearest
from features.files import expand_path
from features.fitted import Fitted
from features.kinds.base import FeatureKind
from features.manifest import read_manifest
from features.spec import Spec
from funnel.config.config import Config
from funnel.console import load_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

    from funnel.reports.examples import Value
    from model.data.input import Data
    from model.data.remote_cache import RemoteDirectory

CACHE_GIB = 50.0  # of remote directories, as [train] cache_gib


class Dataset:
    """A preprocessed directory. Only `reader` and `batches` import TensorFlow.

    Args:
        source: the directory, or the configuration that trains on it.
        verify: compare files with the manifest's checksums before `batches` or `reader` first read
            them, as train.verify of a configuration does.

    Attributes:
        directory: the directory; of a remote one the local copy.
        manifest: manifest.json: rows, shards, warnings.
        spec: features, labels and tasks.

    Raises:
        FunnelError: it is absent, or was written by another version.

    Example:
        data = funnel.Dataset("runs/demo/data")
        data.rows["train"], list(data.features)
        for batch in data.batches("eval", batch_size=512):
            batch["user_id"], batch["click"]
    """

    def __init__(self, source: Config | Path | str, *, verify: bool = False) -> None:
        self._verify = verify or (isinstance(source, Config) and source.run_config.verify)
        self._source = source.source if isinstance(source, Config) else expand_path(str(source))
        self._remote = self._open_remote()  # keeps the local copy from being evicted
        self.directory = self._remote.directory if self._remote else Path(self._source)
        self.manifest: dict[str, Any] = read_manifest(self.directory)
        self.spec = (
            source.spec if isinstance(source, Config) else Spec.load(self.directory / "spec.json")
        )

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {split}" for split, count in self.rows.items())
        return f"Dataset({str(self._source)!r}: {rows} rows, {len(self.features)} features)"

    def _open_remote(self) -> RemoteDirectory | None:
        if "://" not in str(self._source):
            return None
        load_tensorflow()
        from model.data.remote_cache import RemoteDirectory

        return RemoteDirectory(str(self._source), CACHE_GIB)

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows by split."""
        shards = self.manifest["shards"]
        return {split: sum(shard["rows"] for shard in own) for split, own in shards.items()}

    @property
    def features(self) -> dict[str, FeatureKind]:
        """The declared features by name."""
        return self.spec.features

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """statistics.json: counts, quantiles and the AUC of each feature.

        Raises:
            FunnelError: it is absent, as it is from the local copy of a remote directory.
        """
        path = self.directory / "statistics.json"
        if not path.exists():
            raise FunnelError(f"{path}: is missing; copy it there from the preprocessed directory")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @cached_property
    def table_rows(self) -> dict[str, int]:
        """The rows that an embedding table needs, by feature with ids."""
        fitted = Fitted.load(self.directory / "fitted.json")
        return {name: fitted.table_rows(self.spec, name) for name in self.spec.embedded}

    def examples(self, count: int = 5) -> list[dict[str, Value]]:
        """The first training examples as they are written: {id, labels, weight, features} by name;
        None is missing, or an unknown label.
        """
        from funnel.reports.examples import first_examples

        return first_examples(self.directory, self.manifest, count)

    @cached_property
    def reader(self) -> Data:
        """The directory as RankingConfig and RankingEstimator read it."""
        load_tensorflow()
        from model.data.input import Data

        return Data(self._source, self.spec, CACHE_GIB, verify=self._verify)

    def batches(self, split: str, batch_size: int = 1024) -> tf.data.Dataset:
        """Every row of a split, once and in order of a hash of its id, by name.

        Args:
            split: "train" or "eval".
            batch_size: rows of a batch; the last may be smaller.

        Returns:
            Batches {name: tensor} of
            - `id` [B], each label [B] (−1 is unknown) and, where rows have one, `weight` [B];
            - each feature with ids as rows of its embedding table, int64: [B], or [B, length] for a
              list, padded with 0;
            - `<name>_weights` [B, length] of a weighted list;
            - each number, scaled as declared, float32 [B].

        Raises:
            FunnelError: there is no such split, or batch_size is less than 1.
        """
        if split not in self.rows:
            raise FunnelError(f"split '{split}' is unknown: {nearest(split, self.rows)}")
        if batch_size < 1:
            raise FunnelError(f"batch_size = {batch_size}: must be at least 1")
        reader = self.reader
        import tensorflow as tf

        found = reader.in_order(split, batch_size=batch_size)(tf.distribute.InputContext())
        return found.map(self._by_name, num_parallel_calls=tf.data.AUTOTUNE)

    def _by_name(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        from features import graph

        spec, fitted = self.spec, self.reader.fitted
        named = {name: batch[name] for name in batch if name not in ("ids", "dense")}
        rows = graph.table_rows(spec, fitted, batch["ids"], batch["dense"])
        for name, slots in spec.embedded_slots.items():
            own = rows[:, slots.slice]
            named[name] = own if spec.embedded[name].is_list else own[:, 0]
        weights = graph.weights(spec, batch["dense"])
        named |= {f"{name}_weights": weights[name] for name in weights}
        numbers = graph.normalize(spec, fitted, batch["dense"])
        return named | {name: numbers[:, at] for at, name in enumerate(spec.numeric)}
