"""The state of an input iterator on disk, behind a checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import tensorflow as tf

from features.errors import FunnelError
from features.files import replacing

DIGEST = 32  # bytes of a SHA-256; TensorFlow checks only its own files


def write_iterator(path: Path, batches: Any) -> None:
    """Writes the state of the iterator `batches`, whole or not at all. Raises the errors of
    TensorFlow and of the disk.
    """
    # The policy 2 fails where there is external state.
    state = tf.raw_ops.SerializeIterator(
        resource_handle=batches._iterator_resource, external_state_policy=2
    )
    content = tf.io.serialize_tensor(state).numpy()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)


def read_iterator(path: Path) -> bytes:
    """The state, as `restore_iterator` takes it.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: its checksum is wrong.
    """
    found = path.read_bytes()
    content = found[DIGEST:]
    if hashlib.sha256(content).digest() != found[:DIGEST]:
        raise ValueError(f"{path.name} is not what was written")
    return content


def restore_iterator(batches: Any, content: bytes, checkpoint: str) -> None:
    """Restores the iterator `batches` to the state beside a checkpoint.

    Raises:
        FunnelError: the state belongs to another input.
    """
    try:
        tf.raw_ops.DeserializeIterator(
            resource_handle=batches._iterator_resource,
            serialized=tf.io.parse_tensor(content, tf.variant),
        )
    except tf.errors.OpError as error:
        reason = error.message.split("} ", 1)[-1].split(". ")[0]
        raise FunnelError(
            f"{checkpoint}: the saved iterator state does not match input_fn ({reason}): a "
            "training resumes with the input, and the version of TensorFlow, that it began "
            "with; give those, or another model directory, with warm_start to keep the weights"
        ) from None
