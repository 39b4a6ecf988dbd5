"""Checkpoints: all variables by name and the state of the input, written whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tensorflow as tf

from features.errors import FunnelError, naming
from features.files import flush
from model.estimator.checkpoint_files import (
    NAME,
    brief,
    first_readable,
    listed,
    read_into,
    remove_unlisted,
    step_of,
    tracked,
    write_list,
)
from model.estimator.iterator_state import check_iterator, restore_iterator, write_iterator


class Checkpoints:
    """The checkpoints of one training.

    Each worker writes the state of its own input; only the chief, worker 0, writes the variables.

    Args:
        directory: receives the checkpoints.
        state: the variables by name.
        keep: how many of the latest stay.
        background: copies the variables and writes the copies while the training continues, if
            memory has room for both. `close` waits for it.
        worker: the index of this process.
        workers: how many processes train together.
    """

    def __init__(
        self,
        directory: Path,
        state: Mapping[str, tf.Variable],
        *,
        keep: int,
        background: bool = False,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self.directory, self.state = directory, dict(state)
        self.worker, self.workers = worker, workers
        self.background = background and _fits_twice(self.state)
        self._copies: dict[str, tf.Variable] = {}
        self.keep = keep
        written = self._written() if worker == 0 else {}
        self._checkpoint = tf.train.Checkpoint(state=tracked(written))
        self._thread: threading.Thread | None = None
        self._failed: Exception | None = None

    def _written(self) -> dict[str, tf.Variable]:
        """The variables or, in the background, their copies."""
        if self.background:
            self._copies = {
                name: tf.Variable(v.read_value(), trainable=False) for name, v in self.state.items()
            }
        return self._copies or self.state

    def save(self, step: int, batches: Any, barrier: Callable[[], None] = lambda: None) -> None:
        """Writes the checkpoint of `step`.

        Args:
            step: the step reached.
            batches: the iterator whose state is saved with the variables.
            barrier: waits for all workers.

        Raises:
            FunnelError: this checkpoint, or the one before in the background, could not be
                written. Earlier checkpoints stay. Any other error of the background is raised as
                it is.
        """
        self.close()
        path = _iterator_path(self.directory / f"{NAME}-{step}", self.worker)
        with self._guarded(step):
            self.directory.mkdir(parents=True, exist_ok=True)
            write_iterator(path, batches)
        barrier()
        if self.worker == 0:
            for name, copy in self._copies.items():
                copy.assign(self.state[name].read_value())
            self._thread = threading.Thread(target=self._save, args=(step,))
            self._thread.start()
            if not self.background:
                self.close()

    def close(self) -> None:
        """Waits for the checkpoint that is being written. Raises its error."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failed:
            failed, self._failed = self._failed, None
            raise failed

    def _save(self, step: int) -> None:
        try:
            with self._guarded(step):
                self._write(step)
            self._forget_old(step)
        except Exception as error:  # in a thread: `close` raises it
            self._failed = error

    def _write(self, step: int) -> None:
        """Writes the variables, and waits until the disk holds all files of the checkpoint."""
        self._checkpoint.save_counter.assign(step)
        self._checkpoint.write(str(self.directory / f"{NAME}-{step}"))
        for path in self.directory.glob(f"{NAME}-{step}.*"):
            flush(path)
        flush(self.directory)

    def _forget_old(self, step: int) -> None:
        """Lists the newest checkpoints and that of `step`, and removes earlier ones."""
        paths = listed(self.directory)
        old = [path for path in paths[: -self.keep] if step_of(path) < step]
        kept = [path for path in paths if path not in old]
        with naming(self.directory):
            write_list(self.directory, kept)
            remove_unlisted(self.directory, kept, step)

    @contextmanager
    def _guarded(self, step: int) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            last = listed(self.directory)
            if self.worker == 0:
                with suppress(OSError):  # the first error is the one to report
                    remove_unlisted(self.directory, last, step)
            kept = (
                f"the last complete one is {Path(last[-1]).name}" if last else "there is no other"
            )
            raise FunnelError(
                f"{self.directory}: the checkpoint of step {step} cannot be written "
                f"({brief(error)}); {kept}: free space, run again"
            ) from None

    def restore(self, batches: Any, warn: Callable[[str], None]) -> int | None:
        """Restores the latest checkpoint that can be read, and the state of the iterator.

        Args:
            batches: the iterator.
            warn: receives a line for each checkpoint that is skipped.

        Returns:
            The step; None where there is no checkpoint.

        Raises:
            FunnelError: no checkpoint can be read, or the iterator belongs to another input.
        """

        def read(path: str) -> None:
            for worker in range(self.workers):  # all skip what one of them cannot resume from
                check_iterator(_iterator_path(path, worker))
            read_into(self.state, path)

        found = first_readable(self.directory, read, warn)
        if found is None:
            return None
        restore_iterator(batches, _iterator_path(found, self.worker), found)
        if self.worker == 0:  # what a process left that was killed after it wrote this one
            self._forget_old(step_of(found))
        return step_of(found)


def _iterator_path(path: Path | str, worker: int) -> str:
    """The files of the state of a worker's iterator at a checkpoint, without their endings."""
    return f"{path}.iterator-{worker:05d}"


def _fits_twice(state: Mapping[str, tf.Variable]) -> bool:
    """Whether memory has room for a copy of all variables, and as much again for the rest."""
    needed = sum(v.dtype.size * v.shape.num_elements() for v in state.values())
    meminfo = Path("/proc/meminfo")
    found = [line.split() for line in meminfo.read_text().splitlines()] if meminfo.exists() else []
    free = next((int(words[1]) * 1024 for words in found if words[0] == "MemAvailable:"), None)
    return free is not None and free > 2 * needed
