"""Encoded rows → TFRecord shards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from features.errors import naming
from features.spec import Spec
from pipeline.output.examples import Rows, encode_examples, example_columns
from pipeline.output.tfrecord import frame, gzipped

Compression = Literal["none", "gzip"]

ROWS_AT_ONCE = 8192  # bounds the encoded bytes held in memory


def shard_name(split: str, index: int, count: int, compression: Compression = "none") -> str:
    """The path of a shard in its directory.

    Example:
        >>> shard_name("train", 0, 16, "gzip")
        'train/part-00000-of-00016.tfrecord.gz'
    """
    ending = ".gz" if compression == "gzip" else ""
    return f"{split}/part-{index:05d}-of-{count:05d}.tfrecord{ending}"


def write_shard(
    path: Path,
    spec: Spec,
    rows: Rows,
    *,
    layout: str = "packed",
    compression: Compression = "none",
) -> dict[str, Any]:
    """Writes rows as tf.Examples.

    Args:
        path: the file.
        spec: the features and labels.
        rows: the rows, in the order in which they are written.
        layout: a name of `features.layouts.LAYOUTS`.
        compression: of the file.

    Returns:
        The shard's rows, bytes and sha256.

    Raises:
        FunnelError: the file cannot be written.
    """
    batches = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
    chunks = (frame(encode_examples(example_columns(layout, spec, rows))) for rows in batches)
    digest, size = hashlib.sha256(), 0
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in gzipped(chunks) if compression == "gzip" else chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    return {"rows": len(rows), "bytes": size, "sha256": digest.hexdigest()}
