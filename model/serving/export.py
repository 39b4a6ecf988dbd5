"""Checkpoint → SavedModel, published only after a process without this project has scored real rows with it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from features import arrays, graph
from features.errors import FunnelError
from features.spec import Spec, input_name
from model.estimator import RankingEstimator
from model.ranking import RankingModel
from model.serving import serving_check

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Export:
    """A published version: its directory, and how far its scores are from the checkpoint's on real rows.

    `max_abs_difference` is in units of the score, of numbers above 1 in shares of it.
    """

    path: Path
    version: int
    outputs: list[str]
    rows_compared: int
    max_abs_difference: float


class Serving(tf.Module):
    """Raw columns → scores: hashing, crosses and standardising inside the graph."""

    def __init__(self, model: RankingModel) -> None:
        super().__init__()
        self.model = model
        spec = model.spec

        @tf.function(input_signature=[graph.serving_inputs(spec)])
        def serving_default(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return model.scores(*graph.encode(spec, {column: columns[input_name(column)] for column in spec.request_columns}))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return model.scores(*graph.encode(spec, tf.io.parse_example(examples, graph.example_inputs(spec))))

        self.serving_default, self.examples = serving_default, examples


def export(estimator: RankingEstimator, export_dir: Path, version: int | None = None) -> Export:
    """Writes export_dir/<version>/ (default: the unix time) from the latest checkpoint.

    Raises FunnelError when the version exists, or when reloaded scores differ from the checkpoint's by more than 1e-5 on
    the rows of the data's sample.parquet; nothing is published then.
    """
    version = version or int(time.time())
    final = export_dir / str(version)
    if final.exists():
        raise FunnelError(f"{final}: exists already, and a published version is never overwritten; give another version, or remove it")
    model = estimator.load()
    sample = _expressible(model.spec, pq.read_table(estimator.config.sample))
    with _unfinished(final) as unfinished:
        save(model, unfinished)
        difference = verify(model, sample, unfinished)
        unfinished.rename(final)
    return Export(final, version, sorted(checkpoint_scores(model, sample.slice(0, 1))), len(sample), difference)


@contextmanager
def _unfinished(final: Path) -> Iterator[Path]:
    """Where a version is made: beside the others, but not an integer, so that TF Serving does not see it.

    Of several processes one at a time exports to a directory: whatever is unfinished there is of one that was killed, and goes.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished, directory = final.with_name(f".{final.name}.unfinished"), os.open(final.parent, os.O_RDONLY)
    try:
        if _locked(directory):
            for left in final.parent.glob(".*.unfinished"):
                if left.name.split(".")[1].isdecimal():
                    shutil.rmtree(left)
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        os.close(directory)


def _locked(directory: int) -> bool:
    """Waits until the directory is this process's; False on a file system that locks no directories, where two may export at once."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _expressible(spec: Spec, rows: pa.Table) -> pa.Table:
    """The rows that a request can hold: a missing integer or time has no value in a tensor (a tf.Example leaves it out)."""
    for name, raw_type in spec.request_columns.items():
        if raw_type in ("integer", "time"):
            rows = rows.filter(pc.is_valid(rows[name]))
    if not len(rows):
        raise FunnelError(
            "sample.parquet: every row lacks an integer or a time, so no request can be checked; declare dtype = 'string', "
            "or leave out the time feature"
        )
    return rows


def save(model: RankingModel, path: Path) -> None:
    """The SavedModel with both signatures, and the spec among its assets."""
    serving = Serving(model)
    signatures = {"serving_default": serving.serving_default, "examples": serving.examples}
    tf.saved_model.save(serving, str(path), signatures=signatures)
    (path / "assets").mkdir(exist_ok=True)
    model.spec.save(path / "assets" / "spec.json")


def verify(model: RankingModel, sample: pa.Table, path: Path) -> float:
    """The largest difference between the checkpoint's scores and those of the reloaded export, over both signatures.

    A float32 number has seven digits: where it is above 1, the difference is taken in shares of it.
    """
    expected = checkpoint_scores(model, sample)
    worst = 0.0
    for signature, scores in reloaded_scores(model.spec, sample, path).items():
        if set(scores) != set(expected):
            raise FunnelError(f"{path}: signature {signature} returns {sorted(scores)}, the checkpoint {sorted(expected)}; not published")
        for name, values in scores.items():
            difference = float(np.max(np.abs(np.array(values) - expected[name]) / np.maximum(1, np.abs(expected[name]))))
            if not difference <= TOLERANCE:
                raise FunnelError(
                    f"{path}: {name} of signature {signature} differs from the checkpoint's by {difference:.2g} on {len(sample)} rows, "
                    f"more than {TOLERANCE}; not published"
                )
            worst = max(worst, difference)
    return worst


def checkpoint_scores(model: RankingModel, sample: pa.Table) -> dict[str, np.ndarray]:
    """The checkpoint's scores of raw rows, encoded as the pipeline encodes them."""
    columns = {name: sample[name].combine_chunks() for name in model.spec.columns}
    encoded = arrays.encode(model.spec, arrays.served(model.spec, columns))
    scores = model.scores(tf.constant(encoded.ids, tf.int64), tf.constant(encoded.dense))
    return {name: p.numpy() for name, p in scores.items()}


def reloaded_scores(spec: Spec, sample: pa.Table, path: Path) -> dict[str, dict[str, list[float]]]:
    """Scores of the same rows by signature, from a fresh process that cannot import this project."""
    request = {
        "columns": request_columns(spec, sample),
        "examples": [base64.b64encode(example).decode() for example in raw_examples(spec, sample)],
    }
    with tempfile.TemporaryDirectory() as folder:
        rows, scores = Path(folder) / "rows.json", Path(folder) / "scores.json"
        rows.write_text(json.dumps(request))
        command = [sys.executable, "-I", serving_check.__file__, str(path.resolve()), str(rows), str(scores)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ), check=False)
        if done.returncode:
            # TensorFlow's start-up lines, which come before its own logging can be told to be quiet, hide the cause.
            said = [line for line in done.stderr.strip().splitlines() if not re.match(r"[IWE]0000 |WARNING: All log", line)]
            last = "\n".join(said[-3:])
            raise FunnelError(f"{path}: cannot be loaded in a fresh process, so it is not published:\n{last}")
        return json.loads(scores.read_text())


def request_columns(spec: Spec, rows: pa.Table) -> dict[str, list]:
    """Raw rows as a request of serving_default: missing texts are "", missing numbers NaN, lists padded with them."""
    columns = {}
    for name, raw_type in spec.request_columns.items():
        values = rows[name].to_pylist()
        nothing = "" if raw_type in ("text", "texts") else float("nan")
        if raw_type in graph.LISTS:
            longest = max([len(v) for v in values if v] + [1])
            values = [[nothing if one is None else one for one in v or []] + [nothing] * (longest - len(v or [])) for v in values]
        columns[input_name(name)] = [nothing if v is None else v for v in values]
    return columns


def raw_examples(spec: Spec, rows: pa.Table) -> list[bytes]:
    """Raw rows as serialised tf.Examples; what is missing is left out."""
    return [tf.train.Example(features=_raw_features(spec, row)).SerializeToString() for row in rows.to_pylist()]


def _raw_features(spec: Spec, row: dict) -> tf.train.Features:
    features = tf.train.Features()
    for name, raw_type in spec.request_columns.items():
        if row[name] is None:
            continue
        values = row[name] if raw_type in graph.LISTS else [row[name]]
        if raw_type in ("number", "numbers"):
            features.feature[name].float_list.value.extend(float("nan") if v is None else v for v in values)
        elif raw_type in ("integer", "time"):
            features.feature[name].int64_list.value.extend(values)
        else:
            features.feature[name].bytes_list.value.extend((t or "").encode() for t in values)
    return features
