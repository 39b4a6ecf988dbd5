"""score: raw rows → probabilities by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.errors import FunnelError
from features.files import expand_path
from funnel.config.config import Config, load
from funnel.listener import listener, logging_as_it_is
from funnel.scoring.rows import of_files, of_memory
from funnel.scoring.scorers import Scorer, of_export, of_run

Rows = Any  # a pyarrow Table or RecordBatch, a pandas DataFrame, a dict of columns, or paths


def score(model: Config | Mapping[str, Any] | Path | str, rows: Rows) -> pa.Table:
    """Scores raw rows, as the logs hold them.

    Args:
        model: A run, by its configuration (a Config, its content or its file); or the directory of
            an export or of one of its versions.
        rows: A pyarrow Table, a dict of columns, a pandas DataFrame; or a file, a glob or a list of
            them. Files are read as the configuration declares its rows. Other columns than the
            features read are left out.

    Returns:
        A column for each probability `p_<name>` and number `y_<name>`. Rows in memory keep their
        order, one row of scores for each. Of files, a column `id` says which row it is, and rows
        that cannot be read are left out, with a warning to the logger `funnel`.

    Raises:
        FunnelError: There is no such model, a column is absent, a row in memory cannot be used, or
            there are no rows.

    Example:
        scores = funnel.score("my.toml", {"user_id": ["u1"], "price": [19.9]})
        scores["p_ctr"].to_pylist()
    """
    paths = _paths(rows)
    with logging_as_it_is():
        scorer = _scorer(model)
        if paths is None:
            batch = of_memory(rows, scorer.stream, scorer.spec)
            return pa.concat_tables(scorer.tables(batch)).drop_columns(["id"])
        return _score_files(scorer, paths)


def _score_files(scorer: Scorer, paths: list[str]) -> pa.Table:
    found, not_scored, first = [], 0, None
    for batch, _ in of_files("rows", paths, scorer.stream, scorer.spec):
        found += list(scorer.tables(batch))
        not_scored += batch.rejected.total()
        first = first or next(iter(batch.rejects), None)
    if first is not None:
        listener().warn(
            f"{not_scored:,} rows cannot be scored; the first is {first.file}, "
            f"{first.position}: {first.reason}"
        )
    if not found:
        raise FunnelError(f"{', '.join(paths)}: no rows to score")
    return pa.concat_tables(found)


def _scorer(model: Config | Mapping[str, Any] | Path | str) -> Scorer:
    if isinstance(model, str | os.PathLike):
        directory = Path(expand_path(str(model)))
        if directory.is_dir():
            return of_export(directory)
    return of_run(model if isinstance(model, Config) else load(model))


def _paths(rows: Rows) -> list[str] | None:
    """The paths that `rows` names; None for rows in memory."""
    if isinstance(rows, str | os.PathLike):
        return [expand_path(str(rows))]
    listed = isinstance(rows, Sequence) and all(isinstance(r, str | os.PathLike) for r in rows)
    return [expand_path(str(path)) for path in rows] if listed and rows else None
