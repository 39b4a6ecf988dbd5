"""The day in a file's path, and which files belong to the days asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import TypeVar

from features.errors import FunnelError
from pipeline.config import Dates

# 2026-11-01, 20261101, 2026/11/01 and year=2026/month=11/day=01, without digits around them.
DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)(?:(-|)(\d\d)\2(\d\d)|/(?:month=|m=)?(\d\d?)/(?:day=|d=)?(\d\d?))(?!\d)"
)
File = TypeVar("File")


def day_of(path: str) -> date | None:
    """The last day in the folders of a path, else the last in the file's name.

    Example:
        >>> day_of("logs/dt=2026-11-01/part-0.csv")
        datetime.date(2026, 11, 1)
    """
    folders, _, name = path.rpartition("/")
    return _last_day(folders) or _last_day(name)


def of_days(
    files: Iterable[File], path: Callable[[File], str], key: str, dates: Dates
) -> list[File]:
    """The files of exactly these days.

    Raises:
        FunnelError: a file without a day, or a day without a file.
    """
    dated = _dated(files, path, key)
    missing = sorted(_days(dates) - {day for day, _ in dated})
    if missing:
        shown = ", ".join(map(str, missing[:7])) + (
            f" and {len(missing) - 7} more" if len(missing) > 7 else ""
        )
        raise FunnelError(
            f"{key}: no file of {shown}, which dates = '{dates.first}..{dates.last}' asks for"
        )
    return [file for day, file in dated if dates.first <= day <= dates.last]


def of_days_and_after(
    files: list[File], path: Callable[[File], str], key: str, dates: Dates, window: int
) -> list[File]:
    """The files of events that may belong to rows of these days; all files where none has a day.

    Args:
        files: the files.
        path: the path of a file.
        key: the configuration key that an error names.
        dates: the days.
        window: the longest window of a label, in µs: how long after the rows events still count.

    Raises:
        FunnelError: no file of these days.
    """
    if not any(day_of(path(file)) for file in files):
        return files
    end = dates.last + timedelta(days=-(-window // 86_400_000_000))
    kept = [file for day, file in _dated(files, path, key) if dates.first <= day <= end]
    if not kept:
        raise FunnelError(
            f"{key}: no file of {dates.first} to {end}, the days whose events "
            f"dates = '{dates.first}..{dates.last}' asks for"
        )
    return kept


def _dated(files: Iterable[File], path: Callable[[File], str], key: str) -> list[tuple[date, File]]:
    dated = []
    for file in files:
        day = day_of(path(file))
        if day is None:
            raise FunnelError(
                f"{key}: '{path(file)}' has no day in its path, as dt=2026-11-01 or 2026/11/01: "
                "move it, or leave dates out"
            )
        dated.append((day, file))
    return dated


def _days(dates: Dates) -> set[date]:
    return {dates.first + timedelta(days=n) for n in range((dates.last - dates.first).days + 1)}


def _last_day(text: str) -> date | None:
    found = None
    for match in DAY.finditer(text):
        year, month, day = int(match[1]), int(match[3] or match[5]), int(match[4] or match[6])
        try:
            found = date(year, month, day)
        except ValueError:
            continue
    return found
