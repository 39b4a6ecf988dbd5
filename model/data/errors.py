"""Errors of tf.data, and of files that TensorFlow writes, as FunnelErrors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from features.errors import FunnelError, named_in, naming
from model.data.id_check import BAD_ID


@contextmanager
def explained() -> Iterator[None]:
    """Turns tf.data's errors about out-of-range ids and damaged files into a FunnelError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = BAD_ID.search(error.message)
        if found is None:
            raise
        raise FunnelError(found.group()) from None
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise FunnelError(
            f"the input cannot be read: {error.message.splitlines()[0]}; preprocess again, "
            "or copy the files again"
        ) from None


@contextmanager
def naming_files(path: Path) -> Iterator[None]:
    """As features.errors.naming, for errors of TensorFlow too, whose messages end with the cause.

    Raises:
        FunnelError: a file below `path` could not be written or read.
    """
    try:
        with naming(path):
            yield
    except tf.errors.OpError as error:
        found = named_in(error.message, path)
        if found is None:
            raise
        raise found from error
