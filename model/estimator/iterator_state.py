"""A process's place in its input, on disk: the state of its iterator behind a checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from features.errors import FunnelError

DIGEST = 32  # bytes of a SHA-256; TensorFlow checks its own files alone


def write(path: Path, batches: Any) -> None:
    """Writes the place of the iterator `batches`, whole or not at all. Raises what TensorFlow or
    the disk says.
    """
    state = tf.raw_ops.SerializeIterator(
        resource_handle=batches._iterator_resource, external_state_policy=2
    )  # fails if there is any
    content = tf.io.serialize_tensor(state).numpy()
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
    os.replace(unfinished, path)


def read(path: Path) -> bytes:
    """What `move` takes. Raises OSError where there is none, ValueError where it is not what was
    written.
    """
    found = path.read_bytes()
    content = found[DIGEST:]
    if hashlib.sha256(content).digest() != found[:DIGEST]:
        raise ValueError(f"{path.name} is not what was written")
    return content


def move(batches: Any, content: bytes, checkpoint: str) -> None:
    """Moves the iterator `batches` to the place that was read beside a checkpoint. Raises
    FunnelError when it is one in another input.
    """
    try:
        tf.raw_ops.DeserializeIterator(
            resource_handle=batches._iterator_resource,
            serialized=tf.io.parse_tensor(content, tf.variant),
        )
    except tf.errors.OpError as error:
        said = error.message.split("} ", 1)[-1].split(". ")[0]
        raise FunnelError(
            f"{checkpoint}: its place is one in another input than input_fn's ({said}): a training goes on with the input, and the version "
            "of TensorFlow, that it began with; give those, or another model directory, with warm_start to keep the weights"
        ) from None
