"""Raw rows → scores, offline: read as the pipeline reads logs, scored by the latest checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features import arrays, files
from features.errors import FunnelError
from funnel.config.config import Config
from funnel.console import console, load_tensorflow, progress_bar
from pipeline.config import Stream
from pipeline.rows.batch import Batch, Reject
from pipeline.rows.columns import feature_columns
from pipeline.rows.lookups import resolve
from pipeline.rows.read import read
from pipeline.sources.files import find
from pipeline.sources.pieces import pieces
from pipeline.sources.storage import Source, connect

LISTED = 5  # rows that are not scored, named one by one


@dataclass(frozen=True)
class Scored:
    """What became of the rows.

    Args:
        output: The file of the scores.
        rows: How many it holds.
        rejects: The rows that were not scored.
    """

    output: Path
    rows: int
    rejects: list[Reject]

    def as_json(self) -> dict[str, Any]:
        """What `funnel predict --json` prints; of the rows not scored it lists the first LISTED."""
        listed = [
            {"file": r.file, "position": str(r.position), "reason": r.reason}
            for r in self.rejects[:LISTED]
        ]
        counts = {"rows": self.rows, "not_scored": len(self.rejects)}
        return {"output": str(self.output)} | counts | {"first_not_scored": listed}


def predict(config: Config, inputs: Sequence[str] | None, output: Path) -> Scored:
    """Scores raw rows with the model directory alone; the preprocessed data may be gone.

    Args:
        inputs: Files or globs of raw rows; by default the logs of the configuration.
        output: A Parquet file, which receives id, p_<name> and y_<name> of every valid row.

    Returns:
        How many rows were scored, and which were not.
    """
    config.check()
    settings = config.preprocess
    load_tensorflow()
    import tensorflow as tf

    from funnel.stages.training import trained_estimator

    stream = settings.logs[settings.rows].model_copy(update={"time": None})  # a score needs no time
    connect()
    sources = find(
        "--input" if inputs else f"logs.{settings.rows}.files",
        settings.rows,
        stream,
        list(inputs) if inputs else stream.files,
    )
    model = trained_estimator(config).load()
    score = tf.function(model.scores, reduce_retracing=True, autograph=False)
    rejects: list[Reject] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(output) as unfinished,
        progress_bar("scoring", "rows") as progress,
        contextlib.ExitStack() as opened,
    ):
        writer, rows, finished, estimate = None, 0, 0.0, None
        for batch, share in _batches(sources, stream, config):
            if share > finished:
                finished, estimate = share, round(rows / share)
            rejects += batch.rejects
            columns = arrays.served(config.spec, batch.raw(config.spec.request_columns))
            encoded = arrays.encode(config.spec, columns)
            scores = score(tf.constant(encoded.ids, tf.int64), tf.constant(encoded.dense))
            table = pa.table(
                {"id": batch.columns["id"]} | {name: p.numpy() for name, p in scores.items()}
            )
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(unfinished, table.schema))
            writer.write_table(table)
            rows += len(table)
            progress(rows, None if estimate is None else max(estimate, rows))
        if writer is None:
            raise FunnelError(f"{', '.join(s.path for s in sources)}: no rows to score")
    scored = Scored(output, rows, rejects)
    _report(scored)
    return scored


def _batches(
    sources: list[Source], stream: Stream, config: Config
) -> Iterator[tuple[Batch, float]]:
    """The columns that a request sends, those of the stream's look-up tables among them, and the
    share of all pieces that were read before the batch.
    """
    request = feature_columns(config.spec, config.spec.request_columns)
    lookups = resolve("--input", stream, sources[0], request.columns)
    todo = [piece for source in sources for piece in pieces(source, stream)]
    for number, piece in enumerate(todo):
        for batch in read(piece, stream, request, lookups):
            yield batch, number / len(todo)


def _report(scored: Scored) -> None:
    rejects = scored.rejects
    console.print(f"[green]✓[/green] {scored.rows:,} rows scored → {scored.output}")
    for reject in rejects[:LISTED]:
        console.print(
            f"  not scored: {reject.file}, {reject.position}: {reject.reason}", markup=False
        )
    if len(rejects) > LISTED:
        console.print(f"  … and {len(rejects) - LISTED:,} more rows not scored")
