"""`funnel inspect`: prints what a path holds, its first rows, or the result of a check."""

from __future__ import annotations

from typing import Any

from funnel.cli.streams import document
from funnel.console import progress_bar
from funnel.inspection.inspect import check, describe
from funnel.inspection.show import show, show_check


def inspect(path: str, *, rows: int | None = None, with_tables: bool = True) -> dict[str, Any]:
    """Prints what a path holds.

    Args:
        path: A directory that funnel writes, a TFRecord, or logs.
        rows: How many rows to show; of a run, instead of everything else.
        with_tables: Whether to print tables.

    Returns:
        What `--json` prints.

    Raises:
        FunnelError: The path holds nothing that is known, or what it holds is damaged.
    """
    found = describe(path, rows)
    if with_tables:
        show(found)
    return found


def check_files(path: str, *, with_tables: bool = True) -> None:
    """Compares the files of a path with their recorded checksums, and prints the result, also where
    a file is damaged.

    Raises:
        FunnelError: A file is damaged or missing, or nothing of this kind has checksums.
    """
    from funnel.inspection.checks import raise_if_damaged

    with progress_bar("checking", "files") as progress:
        found = check(path, progress)
    if with_tables:
        show_check(found)
    document(found)
    raise_if_damaged(found["files"])
