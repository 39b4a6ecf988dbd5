"""Checkpoints: all variables by name and the position in the input, written whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from features.errors import FunnelError
from model.estimator import iterator_state as positions

NAME = "ckpt"
TABLE_END = 0xDB4775248B80FB57.to_bytes(
    8, "little"
)  # of LevelDB's format, in which TensorFlow writes an index
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, AssertionError, LookupError)


class Checkpoints:
    """The checkpoints of one training in `directory`, the latest `keep` of them.

    `state` are the variables by name. With `background` they are copied, and written while training
    goes on; `close` waits. Of several workers each writes its position in the input, and the first
    the variables.
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
        self.directory, self.state, self.worker, self.workers = (
            directory,
            dict(state),
            worker,
            workers,
        )
        self.background = background and _fits_twice(self.state)
        self._copies: dict[str, tf.Variable] = {}
        self._manager = _manager(directory, self._written(), keep) if worker == 0 else None
        self._thread: threading.Thread | None = None
        self._failed: Exception | None = None

    def _written(self) -> dict[str, tf.Variable]:
        """What is written: the variables or, in the background, their copies."""
        if self.background:
            self._copies = {
                name: tf.Variable(v.read_value(), trainable=False) for name, v in self.state.items()
            }
        return self._copies or self.state

    def save(self, step: int, batches: Any, barrier: Callable[[], None] = lambda: None) -> None:
        """Writes the checkpoint of `step` and the position of the iterator `batches`; `barrier`
        waits for all workers.

        Raises FunnelError when this one, or the one before in the background, could not be written;
        those before stay. What else went wrong in the background is raised as it is.
        """
        self.close()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._guarded(
            step,
            lambda: positions.write(
                _position(self.directory / f"{NAME}-{step}", self.worker), batches
            ),
        )
        barrier()
        if self.worker == 0:
            for name, copy in self._copies.items():
                copy.assign(self.state[name].read_value())
            self._thread = threading.Thread(target=self._save, args=(step,))
            self._thread.start()
            if not self.background:
                self.close()

    def close(self) -> None:
        """Waits for what is being written. Raises its error."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failed:
            failed, self._failed = self._failed, None
            raise failed

    def _save(self, step: int) -> None:
        try:
            self._guarded(step, lambda: self._manager.save(step, check_interval=False))
            _remove_unlisted(self.directory, self._manager.checkpoints, step)
        except Exception as error:  # in a thread: told by `close`
            self._failed = error

    def _guarded(self, step: int, write: Callable[[], object]) -> None:
        try:
            write()
        except (tf.errors.OpError, OSError) as error:
            last = listed(self.directory)
            if self.worker == 0:
                _remove_unlisted(self.directory, last, step)
            kept = (
                f"the last good one is {Path(last[-1]).name}" if last else "there is none before it"
            )
            said = str(error).splitlines()[0][:200]
            raise FunnelError(
                f"{self.directory}: the checkpoint of step {step} cannot be written ({said}); {kept}: free space, run again"
            ) from None

    def restore(self, batches: Any, warn: Callable[[str], None]) -> int | None:
        """Restores the latest checkpoint that can be read, and the iterator's position; returns its
        step, None when there is no checkpoint.

        One that cannot be read is skipped, told by `warn`. Raises FunnelError when none can, or
        when the iterator is of another input.
        """
        places: list[bytes] = []

        def read(path: str) -> None:
            places[:] = _read_positions(path, self.workers)
            read_into(self.state, path)

        found = first_readable(self.directory, read, warn)
        if found is None:
            return None
        positions.move(batches, places[self.worker], found)
        return step_of(found)


def listed(directory: Path) -> list[str]:
    """The checkpoints of a directory, the oldest first: TensorFlow's list and, since that file may
    be lost, those found there.

    What a process was killed in the middle of is none: its index, which is written last, is cut
    off, and the list does not name it.
    """
    try:
        state = tf.train.get_checkpoint_state(str(directory))
    except READ_ERRORS:
        state = None
    names = {Path(path).name for path in (state.all_model_checkpoint_paths if state else [])}
    names |= {path.stem for path in directory.glob(f"{NAME}-*.index") if _ended(path)}
    own = [name for name in names if name.removeprefix(f"{NAME}-").isdecimal()]
    return [str(directory / name) for name in sorted(own, key=step_of)]


def _ended(index: Path) -> bool:
    """Whether an index was written to its end."""
    try:
        with index.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(TABLE_END)))
            return file.read() == TABLE_END
    except FileNotFoundError:  # a training beside this process has removed an old one
        return False


def first_readable(
    directory: Path,
    read: Callable[[str], None],
    warn: Callable[[str], None],
    remedy: str = "train anew with --force",
) -> str | None:
    """Calls `read` with the newest checkpoint's path, with the one before where that fails, and so
    on; returns the one that was read.

    None where there is no checkpoint. Raises FunnelError, which ends with `remedy`, when none can
    be read.
    """
    paths, reason = listed(directory), ""
    for path in reversed(paths):
        try:
            read(path)
            return path
        except READ_ERRORS as error:
            reason = str(error).splitlines()[0][:200]
            warn(f"{path} cannot be read ({reason}): taking the one before")
    if paths:
        raise FunnelError(
            f"{directory}: none of its {len(paths)} checkpoints can be read ({reason}); {remedy}"
        )
    return None


def latest_complete(directory: Path, workers: int) -> str | None:
    """The newest checkpoint of which no file is missing. What is in them `Checkpoints.restore`
    alone finds out: it reads gigabytes.
    """

    def look(path: str) -> None:
        tf.train.load_checkpoint(path)  # reads its index
        data = list(directory.glob(f"{Path(path).name}.data-*"))
        if not data or not all(
            file.stat().st_size
            for file in [*data, *(_position(path, worker) for worker in range(workers))]
        ):
            raise OSError(f"{path} lacks its data")

    return first_readable(directory, look, lambda line: None)


def _read_positions(path: str, workers: int) -> list[bytes]:
    """Every worker's, so that all of them skip a checkpoint that one of them cannot go on from."""
    return [positions.read(_position(path, worker)) for worker in range(workers)]


def read_into(state: Mapping[str, tf.Variable], path: str, *, partly: bool = False) -> None:
    """Reads variables by name. `partly`: the checkpoint may hold more."""
    status = tf.train.Checkpoint(state=tracked(state)).restore(path)
    if partly:
        status.assert_existing_objects_matched().expect_partial()
    else:
        status.assert_consumed()


def step_of(path: str) -> int:
    return int(path.rsplit("-", 1)[1])


def _manager(
    directory: Path, state: Mapping[str, tf.Variable], keep: int
) -> tf.train.CheckpointManager:
    _write_list(directory)
    checkpoint = tf.train.Checkpoint(state=tracked(state))
    return tf.train.CheckpointManager(
        checkpoint, str(directory), max_to_keep=keep, checkpoint_name=NAME
    )


def _write_list(directory: Path) -> None:
    """TensorFlow's list of the checkpoints, anew: its manager forgets those that an old list lacks,
    or gives times of another clock.
    """
    paths = [Path(path) for path in listed(directory)]
    if not paths:
        return
    indices = [path.with_name(path.name + ".index") for path in paths]
    times = [index.stat().st_mtime if index.exists() else 1.0 for index in indices]
    lines = [
        f'model_checkpoint_path: "{paths[-1].name}"',
        *(f'all_model_checkpoint_paths: "{path.name}"' for path in paths),
    ]
    lines += [f"all_model_checkpoint_timestamps: {time}" for time in times]
    unfinished = directory / "checkpoint.unfinished"
    unfinished.write_text("\n".join(lines) + "\n")
    os.replace(unfinished, directory / "checkpoint")


def tracked(state: Mapping[str, tf.Variable]) -> tf.Module:
    """Variables by name, as a checkpoint tracks them: Keras' own names for them depend on what was
    made before.
    """
    holder = tf.Module()
    holder.variables_by_name = dict(state)
    return holder


def _position(path: Path | str, worker: int) -> Path:
    """Where a worker's place in the input at a checkpoint is kept."""
    return Path(f"{path}.position-{worker:05d}")


def _remove_unlisted(directory: Path, paths: list[str], newest: int) -> None:
    """Removes what up to step `newest` belongs to none of these checkpoints: older positions, and
    the rest of what was not written whole.

    While nothing is being written: a folder of TensorFlow's for a checkpoint in the making is then
    one of a process that was killed.
    """
    steps = {step_of(path) for path in paths}
    for path in directory.glob(f"{NAME}-*"):
        number = path.name.removeprefix(f"{NAME}-").split(".")[0].split("_")[0]
        if (
            number.isdecimal()
            and int(number) <= newest
            and (int(number) not in steps or path.name.endswith("_temp"))
        ):
            tf.io.gfile.rmtree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)


def _fits_twice(state: Mapping[str, tf.Variable]) -> bool:
    """Whether a copy of all variables, and as much again for the rest, is free in memory."""
    needed = sum(v.dtype.size * v.shape.num_elements() for v in state.values())
    meminfo = Path("/proc/meminfo")
    found = [line.split() for line in meminfo.read_text().splitlines()] if meminfo.exists() else []
    free = next((int(words[1]) * 1024 for words in found if words[0] == "MemAvailable:"), None)
    return free is not None and free > 2 * needed
