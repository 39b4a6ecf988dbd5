"""Raw rows → scores, offline: read as the pipeline reads logs, scored by the latest checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.markup import escape

from features import files
from features.errors import FunnelError, one_line
from features.locks import locked
from funnel.config.config import Config
from funnel.console import console, progress_bar
from funnel.scoring.rows import of_files
from funnel.scoring.scorers import of_run, rows_of
from funnel.stages.stage import warn
from pipeline.rows.batch import Reject

LISTED = 5  # rows that are not scored, named one by one


@dataclass(frozen=True)
class Scored:
    """What became of the rows.

    Args:
        output: The file of the scores.
        rows: How many it holds.
        rejects: The first rows that were not scored.
        not_scored: Their number.
    """

    output: Path
    rows: int
    rejects: list[Reject]
    not_scored: int

    def as_json(self) -> dict[str, Any]:
        """What `funnel predict --json` prints; of the rows not scored it lists the first LISTED."""
        listed = [
            {"file": r.file, "position": str(r.position), "reason": r.reason} for r in self.rejects
        ]
        counts = {"rows": self.rows, "not_scored": self.not_scored}
        return {"output": str(self.output)} | counts | {"first_not_scored": listed}


def predict(
    config: Config, inputs: Sequence[str] | None, output: Path, *, wait: bool = True
) -> Scored:
    """Scores raw rows with the model directory alone; the preprocessed data may be gone.

    Args:
        inputs: Files or globs of raw rows; by default the logs of the configuration.
        output: A Parquet file, which receives id, p_<name> and y_<name> of every valid row.
        wait: Whether to wait for another process that writes the same file.

    Returns:
        How many rows were scored, and which were not.

    Raises:
        FunnelError: There are no rows, or another process writes the file and `wait` is false.
    """
    config.check()
    lock = output.with_name(f".lock-predict-{output.name}")
    with locked(lock, "predict", wait=wait, on_wait=warn):
        scored = _predict(config, inputs, output)
    _report(scored)
    return scored


def _predict(config: Config, inputs: Sequence[str] | None, output: Path) -> Scored:
    stream = rows_of(config)
    batches = of_files(
        "--input" if inputs else f"logs.{config.preprocess.rows}.files",
        list(inputs) if inputs else stream.files,
        stream,
        config.spec,
    )
    scorer = of_run(config)
    rejects: list[Reject] = []
    not_scored = 0
    with (
        files.replacing(output) as unfinished,
        progress_bar("scoring", "rows") as progress,
        contextlib.ExitStack() as opened,
    ):
        writer, rows, finished, estimate = None, 0, 0.0, None
        for batch, share in batches:
            if share > finished:
                finished, estimate = share, round(rows / share)
            rejects = (rejects + batch.rejects)[:LISTED]
            not_scored += batch.rejected.total()
            for table in scorer.tables(batch):
                if writer is None:
                    writer = opened.enter_context(pq.ParquetWriter(unfinished, table.schema))
                writer.write_table(table)
                rows += len(table)
                progress(rows, None if estimate is None else max(estimate, rows))
        if writer is None:
            raise FunnelError(f"{', '.join(inputs or ['the logs'])}: no rows to score")
    return Scored(output, rows, rejects, not_scored)


def _report(scored: Scored) -> None:
    line = f"{scored.rows:,} rows scored → {scored.output}"
    console.print(f"[green]✓[/green] {escape(one_line(line))}")
    for reject in scored.rejects:
        where = one_line(f"{reject.file}, {reject.position}")
        console.print(f"  not scored: {where}: {one_line(reject.reason)}", markup=False)
    if scored.not_scored > LISTED:
        console.print(f"  … and {scored.not_scored - LISTED:,} more rows not scored")
