"""`funnel inspect`: prints what a path holds, its first rows, or the result of a check."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from typing import Any

from funnel.console import progress_bar
from funnel.inspection.inspect import check, describe
from funnel.inspection.show import show, show_check


def inspect(path: str, *, rows: int | None = None, as_json: bool = False) -> None:
    """Prints what a path holds.

    Args:
        path: A directory that funnel writes, a TFRecord, or logs.
        rows: How many rows to show; of a run, instead of everything else.
        as_json: Print one JSON document instead of tables.

    Raises:
        FunnelError: The path holds nothing that is known, or what it holds is damaged.
    """
    document = describe(path, rows)
    if as_json:
        print_json(document)
    else:
        show(document)


def check_files(path: str, *, as_json: bool = False) -> None:
    """Compares the files of a path with their recorded checksums, and prints the result.

    Raises:
        FunnelError: A file is damaged or missing, or nothing of this kind has checksums.
    """
    from funnel.inspection.checks import raise_if_damaged

    bar = nullcontext(_ignore) if as_json else progress_bar("checking", "files")
    with bar as progress:
        document = check(path, progress)
    if as_json:
        print_json(document)
    else:
        show_check(document)
    raise_if_damaged(document["files"])


def print_json(document: dict[str, Any]) -> None:
    """Prints one JSON document. NaN and infinity are null, and other values that JSON cannot hold,
    as times and bytes of logs, are texts.
    """
    print(json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _ignore(done: int, total: int) -> None:
    """No progress is shown beside JSON."""
