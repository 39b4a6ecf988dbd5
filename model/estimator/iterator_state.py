"""The state of an input iterator on disk, in a checkpoint of its own."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from features.errors import FunnelError
from model.estimator.checkpoint_files import brief, read_tensors


def write_iterator(path: str, batches: Any) -> None:
    """Writes the state of the iterator `batches`. Raises the errors of TensorFlow."""
    tf.train.Checkpoint(iterator=batches).write(path)


def check_iterator(path: str) -> None:
    """Reads all that `write_iterator` wrote, which verifies its checksums.

    Raises:
        tf.errors.OpError, LookupError: a file is missing or is not what was written.
    """
    read_tensors(path)


def restore_iterator(batches: Any, path: str, checkpoint: str) -> None:
    """Restores the iterator `batches` to a state that `check_iterator` found whole.

    Raises:
        FunnelError: the state belongs to another input.
    """
    try:
        tf.train.Checkpoint(iterator=batches).read(path).assert_consumed()
    except tf.errors.OpError as error:
        raise FunnelError(
            f"{checkpoint}: the saved iterator state does not match input_fn "
            f"({brief(error).split('. ')[0]}): a training resumes with the input, and the version "
            "of TensorFlow, that it began with; give those, or another model directory, with "
            "warm_start to keep the weights"
        ) from None
