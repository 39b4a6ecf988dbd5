"""A path → its document: what it holds, its first rows, or the result of a check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.manifest import read_manifest
from features.spec import Spec
from funnel.inspection.directories import DESCRIBE
from funnel.inspection.kinds import identify
from funnel.inspection.logs import describe_logs

ROWS = 5


def describe(path: str, rows: int | None = None) -> dict[str, Any]:
    """What a path holds, in values that JSON holds, but for times and bytes of logs.

    Args:
        path: A directory that funnel writes, a TFRecord, or logs: a file, a folder, a glob.
        rows: Of a run or a preprocessed directory, the first training examples instead of all
            else; of TFRecords and logs, how many rows to show (default: 5).

    Returns:
        {kind, path} and what the kind's function in `directories`, `records` or `logs` gives.

    Raises:
        FunnelError: The path holds nothing that is known, or what it holds is damaged.
    """
    kind = identify(path)
    document = {"kind": kind, "path": path}
    if kind == "log":
        return document | describe_logs(path, rows or ROWS)
    if kind in ("tfrecord", "tfrecords"):
        from funnel.inspection.records import describe_records  # tfx-bsl takes a while to import

        return document | describe_records(Path(path), rows or ROWS)
    if rows and kind in ("run", "data"):
        data = Path(path) / "data" if kind == "run" else Path(path)
        return document | _examples(data, rows)
    if rows and kind != "simulation":
        raise FunnelError(
            f"{path}: --rows shows rows of a run, of data/, of TFRecords and of logs; leave it out"
        )
    document |= DESCRIBE[kind](Path(path))
    return document | (describe_logs(path, rows or ROWS) if kind == "simulation" else {})


def check(path: str, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """{kind, path, files}: see `funnel.inspection.checks.check`."""
    from funnel.inspection import checks

    kind = identify(path)
    return {"kind": kind, "path": path, "files": checks.check(kind, Path(path), progress)}


def _examples(data: Path, rows: int) -> dict[str, Any]:
    from funnel.inspection.records import named
    from funnel.reports.examples import first_examples

    spec = Spec.load(data / "spec.json")
    return named(spec, first_examples(data, read_manifest(data), rows))
