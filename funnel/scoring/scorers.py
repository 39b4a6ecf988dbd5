"""What scores rows: the latest checkpoint of a run, or an exported SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import arrays
from features.errors import FunnelError
from features.spec import Spec
from funnel.config.config import Config
from funnel.console import load_tensorflow
from pipeline.config import Stream
from pipeline.rows.batch import Batch

ROWS = 1 << 16  # scored at once
Scores = dict[str, np.ndarray]  # {"p_<name>" or "y_<name>": [n]}


@dataclass(frozen=True)
class Scorer:
    """Scores raw rows.

    Attributes:
        spec: what the rows hold.
        stream: how the rows are declared.
        run: [n] raw columns → [n] scores by name.
    """

    spec: Spec
    stream: Stream
    run: Callable[[Mapping[str, pa.Array]], Scores]

    def tables(self, batch: Batch) -> Iterator[pa.Table]:
        """The scores of a batch's rows, beside their ids, in their order."""
        columns = batch.raw(self.spec.request_columns)
        for start in range(0, len(batch.columns["id"]), ROWS):
            scores = self.run({name: c[start : start + ROWS] for name, c in columns.items()})
            yield pa.table({"id": batch.columns["id"][start : start + ROWS]} | scores)


def rows_of(config: Config) -> Stream:
    """The rows that the configuration declares. A score needs no time."""
    settings = config.preprocess
    return settings.logs[settings.rows].model_copy(update={"time": None})


def of_run(config: Config) -> Scorer:
    """The latest checkpoint of a run. It reads the model directory alone; the preprocessed data may
    be gone.

    Raises:
        FunnelError: there is no checkpoint.
    """
    config.check()
    stream = rows_of(config)
    load_tensorflow()
    import tensorflow as tf

    from funnel.stages.training import trained_estimator

    model = trained_estimator(config).load()
    traced = tf.function(model.scores, reduce_retracing=True, autograph=False)

    def run(columns: Mapping[str, pa.Array]) -> Scores:
        encoded = arrays.encode(config.spec, arrays.served(config.spec, columns))
        found = traced(tf.constant(encoded.ids, tf.int64), tf.constant(encoded.dense))
        return {name: p.numpy() for name, p in found.items()}

    return Scorer(config.spec, stream, run)


def of_export(directory: Path) -> Scorer:
    """A version, or the newest version in an export's directory.

    Raises:
        FunnelError: it holds neither, or the version was written by another program.
    """
    version = _version(directory)
    spec = Spec.load(version / "assets" / "spec.json")
    load_tensorflow()
    import tensorflow as tf

    from model.serving.requests import request_arrays

    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["serving_default"]

    def run(columns: Mapping[str, pa.Array], _: object = loaded) -> Scores:  # keeps the variables
        for name, raw_type in spec.request_columns.items():
            if raw_type in ("integer", "time") and columns[name].null_count:
                raise FunnelError(
                    f"{version}: column '{name}' has {columns[name].null_count} missing values, "
                    f"and a request cannot leave out {raw_type}s: fill them, or score with the "
                    "configuration of the run"
                )
        found = signature(**{n: tf.constant(a) for n, a in request_arrays(spec, columns).items()})
        return {name: found[name].numpy() for name in sorted(found)}

    return Scorer(spec, Stream.parse({"files": []}), run)


def _version(directory: Path) -> Path:
    if (directory / "saved_model.pb").exists():
        return directory
    versions = [path for path in directory.iterdir() if path.name.isdecimal()]
    if not versions:
        raise FunnelError(
            f"{directory}: holds neither saved_model.pb nor a version; give an export's directory, "
            "as in runs/my/export, or the run's configuration"
        )
    return max(versions, key=lambda path: int(path.name))
