"""Raw rows → scores, offline: read as the pipeline reads logs, scored by the latest checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
from pipeline.rows.read import read_source
from pipeline.sources.files import find
from pipeline.sources.storage import Source, connect


def predict(config: Config, inputs: Sequence[str] | None, output: Path) -> int:
    """Scores raw rows with the model directory alone; the preprocessed data may be gone.

    Args:
        inputs: Files or globs of raw rows; by default the logs of the configuration.
        output: A Parquet file, which receives id, p_<name> and y_<name> of every valid row.

    Returns:
        The number of rows scored.
    """
    config.check()
    load_tensorflow()
    import tensorflow as tf

    from funnel.stages.training import trained_estimator

    settings = config.preprocess
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
        progress_bar("scoring", "files") as progress,
        contextlib.ExitStack() as opened,
    ):
        writer, rows = None, 0
        for batch in _batches(sources, stream, config, progress):
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
        if writer is None:
            raise FunnelError(f"{', '.join(s.path for s in sources)}: no rows to score")
    _report(rows, rejects, output)
    return rows


def _batches(
    sources: list[Source], stream: Stream, config: Config, progress: Callable[..., None]
) -> Iterator[Batch]:
    """The columns that a request sends, those of the stream's look-up tables among them."""
    request = feature_columns(config.spec, config.spec.request_columns)
    lookups = resolve("--input", stream, sources[0], request.columns)
    for number, source in enumerate(sources):
        progress(number, len(sources))
        yield from read_source(source, stream, request, lookups)


def _report(rows: int, rejects: list[Reject], output: Path) -> None:
    console.print(f"[green]✓[/green] {rows:,} rows scored → {output}")
    for reject in rejects[:5]:
        console.print(
            f"  not scored: {reject.file}, {reject.position}: {reject.reason}", markup=False
        )
    if len(rejects) > 5:
        console.print(f"  … and {len(rejects) - 5:,} more rows not scored")
