"""TFRecord files → records, each compared with its checksum.

tf.data reads them too, but TensorFlow takes seconds to import, and so does tfx_bsl.tfxio, which
imports TensorFlow and Beam.
"""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import google_crc32c
import numpy as np

from features.errors import FunnelError
from pipeline.output import tfrecord

BATCH = 8192  # records
HEAD_BYTES, SUM_BYTES = 12, 4
GZIP_START = b"\x1f\x8b"
REMEDY = "copy the file again, or run `funnel preprocess` again"

_head = functools.lru_cache(maxsize=4096)(tfrecord.head)  # most records have one of few lengths


def record_batches(path: Path, size: int = BATCH) -> Iterator[list[bytes]]:
    """Yields the records of a TFRecord file, `size` at a time.

    Args:
        path: The file, gzipped if its name ends in .gz.
        size: Records of a batch; the last may be smaller.

    Raises:
        FunnelError: The file cannot be read, is cut off, is not a TFRecord, is compressed in
            another way than its name says, or a record differs from its checksum.
    """
    with _opened(path) as file:
        first, records, sums = 1, list[bytes](), list[bytes]()
        while head := file.read(HEAD_BYTES):
            number = first + len(records)
            length = int.from_bytes(head[:8], "little")
            if len(head) == HEAD_BYTES and head != _head(length):
                raise FunnelError(
                    f"{path}: record {number} has a damaged length; {REMEDY}"
                    if number > 1
                    else f"{path}: is not a TFRecord: it does not begin with a record's length and "
                    "its checksum; give a TFRecord file, or a log in one of the known formats"
                )
            record, sum_ = file.read(length), file.read(SUM_BYTES)
            if len(sum_) < SUM_BYTES:
                raise FunnelError(f"{path}: is cut off in record {number}; {REMEDY}")
            records.append(record)
            sums.append(sum_)
            if len(records) == size:
                yield _checked(path, first, records, sums)
                first, records, sums = first + size, [], []
        if records:
            yield _checked(path, first, records, sums)


def first_records(path: Path, count: int) -> list[bytes]:
    """The first `count` records of a TFRecord file. Raises FunnelError as `record_batches` does."""
    return next(record_batches(path, count), [])


def _checked(path: Path, first: int, records: list[bytes], sums: list[bytes]) -> list[bytes]:
    found = tfrecord.masked(np.fromiter(map(google_crc32c.value, records), np.uint32, len(records)))
    wrong = np.flatnonzero(found != np.frombuffer(b"".join(sums), "<u4"))
    if len(wrong):
        raise FunnelError(f"{path}: record {first + wrong[0]} differs from its checksum; {REMEDY}")
    return records


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, decompressed. Raises FunnelError for whatever fails while it is open."""
    zipped = path.suffix == ".gz"
    try:
        with path.open("rb") as file:
            start = file.read(len(GZIP_START))
            file.seek(0)
            if zipped and start != GZIP_START and start:
                raise FunnelError(
                    f"{path}: is not gzipped, though its name ends in .gz; rename it to {path.stem}"
                )
            if start == GZIP_START and not zipped:
                raise FunnelError(
                    f"{path}: is gzipped, but its name does not end in .gz; rename it to "
                    f"{path.name}.gz"
                )
            if zipped:
                with gzip.open(file) as unzipped:
                    yield cast(BinaryIO, unzipped)
            else:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise FunnelError(f"{path}: cannot be read ({reason}); {REMEDY}") from None
