"""The files of checkpoints: which there are, which can be read, and which are left over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.files import write_text

NAME = "ckpt"
# Ends a complete index: the magic number of LevelDB's table format, in which TensorFlow writes it.
TABLE_END = 0xDB4775248B80FB57.to_bytes(8, "little")
READ_ERRORS = (tf.errors.OpError, OSError, ValueError, AssertionError, LookupError)


def listed(directory: Path) -> list[str]:
    """The checkpoints of a directory, the oldest first: those in TensorFlow's list and, since that
    file may be lost, those found there.

    A partially written checkpoint is ignored: its index, which is written last, is truncated, and
    the list does not name it.
    """
    try:
        state = tf.train.get_checkpoint_state(str(directory))
    except READ_ERRORS:
        state = None
    names = {Path(path).name for path in (state.all_model_checkpoint_paths if state else [])}
    names |= {path.stem for path in directory.glob(f"{NAME}-*.index") if _is_complete(path)}
    own = [name for name in names if name.removeprefix(f"{NAME}-").isdecimal()]
    return [str(directory / name) for name in sorted(own, key=step_of)]


def _is_complete(index: Path) -> bool:
    """Whether an index was written to its end."""
    try:
        with index.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(TABLE_END)))
            return file.read() == TABLE_END
    except FileNotFoundError:  # another process trains here and has removed it
        return False


def first_readable(
    directory: Path,
    read: Callable[[str], None],
    warn: Callable[[str], None],
    remedy: str = "train from scratch with --force",
) -> str | None:
    """Reads the newest checkpoint that can be read.

    Args:
        directory: the checkpoints.
        read: reads a checkpoint by its path, or raises one of READ_ERRORS.
        warn: receives a line for each checkpoint that cannot be read.
        remedy: ends the error.

    Returns:
        The checkpoint that was read; None where there is none.

    Raises:
        FunnelError: none can be read.
    """
    paths, reason = listed(directory), ""
    for path in reversed(paths):
        try:
            read(path)
            return path
        except READ_ERRORS as error:
            reason = brief(error)
            warn(f"{path} cannot be read ({reason}): taking the one before")
    if paths:
        raise FunnelError(
            f"{directory}: none of its {len(paths)} checkpoints can be read ({reason}); {remedy}"
        )
    return None


def brief(error: Exception) -> str:
    """The first line of an error, without the operation's name, which TensorFlow begins with."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error).splitlines()[0].split("}} ", 1)[-1][:200]


def read_into(state: Mapping[str, tf.Variable], path: str, *, partly: bool = False) -> None:
    """Reads variables by name. With `partly` the checkpoint may hold more."""
    status = tf.train.Checkpoint(state=tracked(state)).restore(path)
    if partly:
        status.assert_existing_objects_matched().expect_partial()
    else:
        status.assert_consumed()


def tracked(state: Mapping[str, tf.Variable]) -> tf.Module:
    """Variables by name, for a checkpoint to track: the names that Keras gives them depend on what
    the process made before.
    """
    holder = tf.Module()
    holder.variables_by_name = dict(state)
    return holder


def read_tensors(path: str) -> int:
    """Reads every tensor of a checkpoint, one after the other, which compares its checksum.

    Returns:
        How many tensors there are.

    Raises:
        One of READ_ERRORS: a file is missing or is not what was written.
    """
    dtypes = tf.train.load_checkpoint(path).get_variable_to_dtype_map()
    for name, dtype in dtypes.items():
        tf.raw_ops.RestoreV2(
            prefix=path, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype]
        )
    return len(dtypes)


def holds_variable(reader: Any, name: str) -> bool:
    """Whether the checkpoint of a `tf.train.load_checkpoint` holds a variable."""
    return reader.has_tensor(_key(name))


def read_variable(reader: Any, name: str) -> np.ndarray:
    """The value of a variable in the checkpoint of a `tf.train.load_checkpoint`."""
    return reader.get_tensor(_key(name))


def _key(name: str) -> str:
    """The key of a variable that `tracked` holds: TensorFlow escapes separators."""
    escaped = name.replace(".", "..").replace("/", ".S")
    return f"state/variables_by_name/{escaped}/.ATTRIBUTES/VARIABLE_VALUE"


def step_of(path: str) -> int:
    return int(path.rsplit("-", 1)[1])


def write_list(directory: Path, checkpoints: list[str]) -> None:
    """Writes TensorFlow's list of the checkpoints.

    TensorFlow's own writer, `tf.train.CheckpointManager`, removes old checkpoints before the disk
    holds the new one.
    """
    paths = [Path(path) for path in checkpoints]
    indices = [path.with_name(path.name + ".index") for path in paths]
    times = [index.stat().st_mtime if index.exists() else 1.0 for index in indices]
    lines = [
        f'model_checkpoint_path: "{paths[-1].name}"',
        *(f'all_model_checkpoint_paths: "{path.name}"' for path in paths),
    ]
    lines += [f"all_model_checkpoint_timestamps: {time}" for time in times]
    write_text(directory / "checkpoint", "\n".join(lines) + "\n")


def remove_unlisted(directory: Path, paths: list[str], newest: int) -> None:
    """Removes the files of steps up to `newest` that belong to none of the checkpoints `paths`.

    Those are iterator states of removed checkpoints and partially written files. It must not run
    while a checkpoint is being written: then a temporary folder of TensorFlow's was left by a
    killed process.
    """
    steps = {step_of(path) for path in paths}
    # An index first: without it a checkpoint is not listed, so a killed process leaves none half.
    for path in sorted(directory.glob(f"{NAME}-*"), key=lambda path: path.suffix != ".index"):
        number = path.name.removeprefix(f"{NAME}-").split(".")[0].split("_")[0]
        if (
            number.isdecimal()
            and int(number) <= newest
            and (int(number) not in steps or path.name.endswith("_temp"))
        ):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
