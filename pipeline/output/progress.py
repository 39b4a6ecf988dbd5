"""Job progress: workers touch a file per finished piece or shard; the driver counts them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

MARKERS = ".markers"


def mark_done(out: Path, name: str, content: str = "") -> None:
    """Marks one piece or shard as done."""
    unfinished = out / MARKERS / f".{name}"
    unfinished.write_text(content, encoding="utf-8")
    unfinished.rename(out / MARKERS / name)


class ProgressMonitor:
    """Counts the markers twice a second while its block runs, and removes them afterwards.

    Args:
        out: the directory that the job writes.
        total: the number of files and shards.
        on_progress: called with (done, total).
        check: called as often.
    """

    def __init__(
        self,
        out: Path,
        total: int,
        on_progress: Callable[[int, int], None] | None,
        check: Callable[[], None],
    ) -> None:
        self.markers, self.total, self.check = out / MARKERS, total, check
        self.on_progress = on_progress or (lambda done, total: None)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> None:
        self.markers.mkdir()
        self.thread.start()

    def __exit__(
        self, kind: type | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.done.set()
        self.thread.join()
        # A job that a signal ended may still write some.
        shutil.rmtree(self.markers, ignore_errors=True)

    def _count(self) -> None:
        while not self.done.wait(0.5):
            self.check()
            self.on_progress(*self.progress())
        self.check()
        self.on_progress(*self.progress())

    def progress(self) -> tuple[int, int]:
        """(done, total). A file counts once until its pieces are known; the marker
        cut-<file>-<pieces> gives their number.
        """
        names = [path.name for path in self.markers.iterdir() if not path.name.startswith(".")]
        cuts = [int(name.rpartition("-")[2]) for name in names if name.startswith("cut-")]
        return len(names) - len(cuts), self.total + sum(cuts) - len(cuts)
