"""Checkpoints: all variables by name and the position in the input, written whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from features.errors import FunnelError

NAME = "ckpt"
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, AssertionError, LookupError)


class Checkpoints:
    """The checkpoints of one training in `directory`, the latest `keep` of them.

    `state` are the variables by name. With `background` they are copied, and written while training goes on; `close` waits. Of several
    workers each writes its position in the input, and the first the variables.
    """

    def __init__(
        self, directory: Path, state: Mapping[str, tf.Variable], *, keep: int, background: bool = False, worker: int = 0, workers: int = 1
    ) -> None:
        self.directory, self.state, self.worker, self.workers = directory, dict(state), worker, workers
        self.background = background and _fits_twice(self.state)
        self._copies: dict[str, tf.Variable] = {}
        self._manager = _manager(directory, self._written(), keep)
        self._thread: threading.Thread | None = None
        self._failed: FunnelError | None = None

    def _written(self) -> dict[str, tf.Variable]:
        """What is written: the variables or, in the background, their copies."""
        if self.background:
            self._copies = {name: tf.Variable(v.read_value(), trainable=False) for name, v in self.state.items()}
        return self._copies or self.state

    def save(self, step: int, batches: Any, barrier: Callable[[], None] = lambda: None) -> None:
        """Writes the checkpoint of `step` and the position of the iterator `batches`; `barrier` waits for all workers.

        Raises FunnelError when this one, or the one before in the background, could not be written; those before stay.
        """
        self.close()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._guarded(step, lambda: self._write_position(step, batches))
        barrier()
        if self.worker == 0:
            for name, copy in self._copies.items():
                copy.assign(self.state[name].read_value())
            self._thread = threading.Thread(target=self._save, args=(step,))
            self._thread.start()
            if not self.background:
                self.close()

    def close(self) -> None:
        """Waits for what is being written. Raises its FunnelError."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failed:
            failed, self._failed = self._failed, None
            raise failed

    def _save(self, step: int) -> None:
        try:
            self._guarded(step, lambda: self._manager.save(step, check_interval=False))
            _remove_unlisted(self.directory, self._manager.checkpoints)
        except FunnelError as error:
            self._failed = error

    def _guarded(self, step: int, write: Callable[[], object]) -> None:
        try:
            write()
        except (tf.errors.OpError, OSError) as error:
            last = self._manager.checkpoints
            if self.worker == 0:  # the others' lists are old
                _remove_unlisted(self.directory, last)
            kept = f"the last good one is {Path(last[-1]).name}" if last else "there is none before it"
            said = str(error).splitlines()[0][:200]
            raise FunnelError(
                f"{self.directory}: the checkpoint of step {step} cannot be written ({said}); {kept}: free space, run again"
            ) from None

    def _write_position(self, step: int, batches: Any) -> None:
        state = tf.raw_ops.SerializeIterator(resource_handle=batches._iterator_resource, external_state_policy=2)  # fails if there is any
        final = _position(self.directory, step, self.worker)
        unfinished = final.with_name(final.name + ".unfinished")
        tf.io.write_file(str(unfinished), tf.io.serialize_tensor(state))
        tf.io.gfile.rename(str(unfinished), str(final), overwrite=True)

    def restore(self, batches: Any, warn: Callable[[str], None]) -> int | None:
        """Restores the latest checkpoint that can be read, and the iterator's position; returns its step, None when there is no checkpoint.

        One that cannot be read is skipped, told by `warn`. Raises FunnelError when none can.
        """

        def read(path: str) -> None:
            step = step_of(path)
            positions = [_position(self.directory, step, worker) for worker in range(self.workers)]
            missing = [p.name for p in positions if not p.exists()]
            if missing:
                raise FileNotFoundError(f"{missing[0]} is missing")
            serialized = tf.io.parse_tensor(tf.io.read_file(str(positions[self.worker])), tf.variant)
            read_into(self.state, path)
            tf.raw_ops.DeserializeIterator(resource_handle=batches._iterator_resource, serialized=serialized)

        found = first_readable(self.directory, read, warn)
        return None if found is None else step_of(found)


def first_readable(directory: Path, read: Callable[[str], None], warn: Callable[[str], None]) -> str | None:
    """Calls `read` with the newest checkpoint's path, with the one before where that fails, and so on; returns the one that was read."""
    listed = tf.train.get_checkpoint_state(str(directory))
    paths = [str(directory / Path(p).name) for p in (listed.all_model_checkpoint_paths if listed else [])]
    reason = ""
    for path in reversed(paths):
        try:
            read(path)
            return path
        except READ_ERRORS as error:
            reason = str(error).splitlines()[0][:200]
            warn(f"{path} cannot be read ({reason}): taking the one before")
    if paths:
        raise FunnelError(f"{directory}: none of its {len(paths)} checkpoints can be read ({reason}); train anew with --force")
    return None


def read_into(state: Mapping[str, tf.Variable], path: str, *, partly: bool = False) -> None:
    """Reads variables by name. `partly`: the checkpoint may hold more."""
    status = tf.train.Checkpoint(state=_tracked(state)).restore(path)
    if partly:
        status.assert_existing_objects_matched().expect_partial()
    else:
        status.assert_consumed()


def step_of(path: str) -> int:
    return int(path.rsplit("-", 1)[1])


def _manager(directory: Path, state: Mapping[str, tf.Variable], keep: int) -> tf.train.CheckpointManager:
    checkpoint = tf.train.Checkpoint(state=_tracked(state))
    return tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=keep, checkpoint_name=NAME)


def _tracked(state: Mapping[str, tf.Variable]) -> tf.Module:
    """Variables by name, as a checkpoint tracks them: Keras' own names for them depend on what was made before."""
    holder = tf.Module()
    holder.variables_by_name = dict(state)
    return holder


def _position(directory: Path, step: int, worker: int) -> Path:
    """Where a worker's place in the input at `step` is kept."""
    return directory / f"{NAME}-{step}.position-{worker:05d}"


def _remove_unlisted(directory: Path, listed: list[str]) -> None:
    """Removes what belongs to no checkpoint that is listed: positions of older ones, and the rest of what could not be written."""
    steps = {step_of(path) for path in listed}
    for path in directory.glob(f"{NAME}-*"):
        number = path.name.removeprefix(f"{NAME}-").split(".")[0].split("_")[0]
        if number.isdigit() and int(number) not in steps:
            tf.io.gfile.rmtree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)


def _fits_twice(state: Mapping[str, tf.Variable]) -> bool:
    """Whether a copy of all variables, and as much again for the rest, is free in memory."""
    needed = sum(v.dtype.size * v.shape.num_elements() for v in state.values())
    meminfo = Path("/proc/meminfo")
    found = [line.split() for line in meminfo.read_text().splitlines()] if meminfo.exists() else []
    free = next((int(words[1]) * 1024 for words in found if words[0] == "MemAvailable:"), None)
    return free is not None and free > 2 * needed
