"""How far a job is: workers leave a mark for each piece of a file read and shard written, the
driver counts them.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

MARKS = ".marks"


def mark(out: Path, name: str) -> None:
    """Says that one file or shard is done."""
    (out / MARKS / name).touch()


class Watch:
    """Counts the marks twice a second while its block runs, and removes them after."""

    def __init__(
        self, out: Path, total: int, on_progress: Callable[[int, int], None] | None
    ) -> None:
        self.marks, self.total = out / MARKS, total
        self.on_progress = on_progress or (lambda done, total: None)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> None:
        self.marks.mkdir()
        self.thread.start()

    def __exit__(
        self, kind: type | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.done.set()
        self.thread.join()
        shutil.rmtree(self.marks)

    def _count(self) -> None:
        while not self.done.wait(0.5):
            self.on_progress(*self.progress())
        self.on_progress(*self.progress())

    def progress(self) -> tuple[int, int]:
        """(done, total); a file counts once until it is known in how many pieces it is read: a mark
        cut-<file>-<pieces> says so.
        """
        names = [path.name for path in self.marks.iterdir()]
        cuts = [int(name.rpartition("-")[2]) for name in names if name.startswith("cut-")]
        return len(names) - len(cuts), self.total + sum(cuts) - len(cuts)
