"""The rows of shape.py as TFRecords, in either layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import shape
from benchmarks.train_steps import make_spec, plain
from features.manifest import VERSION
from model.data.input import Data
from pipeline.output.examples import Rows
from pipeline.output.publish import write_json
from pipeline.output.shards import shard_name, write_shard

SHARDS = 4


def write(folder: Path, rows_per_table: int, layout: str) -> Data:
    """A preprocessed directory of 131,072 rows, as the pipeline writes it."""
    spec, drawn = make_spec(rows_per_table), shape.draw(rows_per_table)
    ids, dense, labels = (one.reshape(-1, one.shape[-1]) for one in drawn)
    names = pa.array(np.arange(len(ids)).astype(str))
    rows = Rows(
        ids.astype(np.int32),
        dense,
        {task: labels[:, i].astype(np.int8) for i, task in enumerate(shape.TASKS)},
        None,
        names,
    )
    manifest = {
        "version": VERSION,
        "layout": layout,
        "compression": "none",
        "weighted": False,
        "fingerprint": spec.fingerprint,
    }
    manifest["shards"] = {"train": [], "eval": []}
    for split, own in (("train", rows), ("eval", rows[: shape.BATCH])):
        each = -(-len(own) // SHARDS)
        for i in range(SHARDS):
            file = shard_name(split, i, SHARDS)
            written = write_shard(
                folder / file, spec, own[i * each : (i + 1) * each], layout=layout
            )
            manifest["shards"][split].append({"file": file} | written)
    plain(spec).save(folder / "fitted.json")
    write_json(folder / "manifest.json", manifest)
    return Data(folder, spec)
