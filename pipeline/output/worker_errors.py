"""The errors of a job's workers, kept as files: Beam would wrap what a worker raises in a traceback
of its own. Of several errors the one at the first place is raised, however the work was spread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import FunnelError
from features.files import write_text

ERRORS = ".errors"
CUT, READ, WRITE = range(3)
Place = tuple[int, int, int]  # CUT, READ or WRITE; number of the file or partition; of the piece


@contextmanager
def recorded(out: Path, place: Place) -> Iterator[None]:
    """Records a FunnelError of the block instead of raising it."""
    try:
        yield
    except FunnelError as error:
        record(out, place, error)


def record(out: Path, place: Place, error: FunnelError) -> None:
    """Keeps an error until the job ends."""
    (out / ERRORS).mkdir(exist_ok=True)
    write_text(out / ERRORS / _name(place), json.dumps(str(error)))


def stopped(out: Path, place: Place) -> bool:
    """Whether an earlier place has an error, so that nobody needs the work at this one."""
    return any(name < _name(place) for name in _names(out))


def any_error(out: Path) -> bool:
    """Whether a worker has recorded an error."""
    return bool(_names(out))


def raise_first(out: Path) -> None:
    """Raises the error at the first place, if there is one."""
    for name in _names(out)[:1]:
        raise FunnelError(json.loads((out / ERRORS / name).read_text(encoding="utf-8")))


def _name(place: Place) -> str:
    return "-".join(f"{number:010}" for number in place)


def _names(out: Path) -> list[str]:
    try:
        return sorted(n for n in os.listdir(out / ERRORS) if not n.startswith("."))
    except FileNotFoundError:
        return []
