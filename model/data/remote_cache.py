"""Remote preprocessed directories (s3://, gs://, hdfs://): copied into a bounded cache, or read in
place by tensorflow-io.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import tensorflow as tf
from pyarrow import fs

from features.errors import FunnelError
from features.files import flush, write_text

SMALL = (
    "manifest.json",
    "fitted.json",
    "spec.json",
    "sample.parquet",
)  # fetched whenever the directory is opened
COPIES_AT_ONCE = 8
CHUNK = 1 << 22  # bytes
GIB = 1 << 30
Shards = Iterable[Mapping[str, Any]]


def is_remote(uri: str | Path) -> bool:
    return bool(urlsplit(str(uri)).netloc) and "://" in str(uri)


def cache_root() -> Path:
    """Where remote data is kept: $FUNNEL_CACHE, or funnel/ in the user's cache."""
    own = os.environ.get("FUNNEL_CACHE")
    return (
        Path(own)
        if own
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funnel"
    )


class RemoteDirectory:
    """The local copy of a remote preprocessed directory.

    `directory` holds the small files, which are copied whenever it is opened, and the shards that
    `stage` was called with. When the cache is full, files that the manifest no longer names are
    removed, and then the least recently used directories, never one in use. One process at a time
    copies shards.

    Args:
        uri: the remote directory.
        cache_gib: how much the cache may hold.

    Raises:
        FunnelError: a file cannot be read, or the disk is full.
    """

    def __init__(self, uri: str, cache_gib: float) -> None:
        self.uri, self.cache_gib = uri.rstrip("/"), cache_gib
        self.in_place = importlib.util.find_spec("tensorflow_io") is not None
        if self.in_place:
            # Its import registers the schemes with tf.io.gfile and tf.data.
            import tensorflow_io  # type: ignore[import-not-found]  # noqa: F401

        path, digest = urlsplit(uri).path.strip("/"), hashlib.sha256(self.uri.encode()).hexdigest()
        self.directory = cache_root() / f"{path.replace('/', '-')}-{digest[:12]}"
        self._lock = _hold(self.directory)  # as long as this object lives
        weakref.finalize(self, self._lock.close)
        (self.directory / ".lock").touch()  # used last
        for file in SMALL:
            self._copy(file)

    def stage(self, shards: Shards) -> list[str]:
        """Paths of shards for tf.data. They are copied, and checked against the manifest, unless
        they are read in place.
        """
        shards = list(shards)
        if self.in_place:
            return [f"{self.uri}/{shard['file']}" for shard in shards]
        if not all(self._has(shard) for shard in shards):
            # Two processes at once would count on the same free space, and copy shards twice.
            with _lock(self.directory.parent, fcntl.LOCK_EX):
                missing = [shard for shard in shards if not self._has(shard)]
                self._make_room(sum(shard["bytes"] for shard in missing))
                with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
                    list(
                        pool.map(lambda shard: self._copy(shard["file"], shard["sha256"]), missing)
                    )
        return [str(self.directory / shard["file"]) for shard in shards]

    def _has(self, shard: Mapping[str, Any]) -> bool:
        """Whether a checked copy is there. Its checksum is stored beside it, since a shard of the
        same name may have changed.
        """
        path = self.directory / shard["file"]
        noted = path.with_name(f"{path.name}.sha256")
        return (
            path.exists()
            and path.stat().st_size == shard["bytes"]
            and noted.exists()
            and noted.read_text() == shard["sha256"]
        )

    def _copy(self, file: str, sha256: str | None = None) -> None:
        """Copies a file, which appears whole or not at all. Several processes may do so at once."""
        path = self.directory / file
        beside, digest = path.with_name(f".{path.name}.{os.getpid()}"), hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.open_file(file) as source, beside.open("wb") as target:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
            if sha256 not in (None, digest.hexdigest()):
                raise FunnelError(
                    f"{self.uri}/{file}: its sha256 is {digest.hexdigest()}, its manifest says "
                    f"{sha256}; upload it again"
                )
            flush(beside)  # else a power cut leaves zeros beside a checksum
            beside.rename(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise FunnelError(
                    f"{self.directory}: no space is left for {file}: free some, or set "
                    "FUNNEL_CACHE elsewhere"
                ) from None
            raise FunnelError(
                f"{self.uri}/{file}: cannot be read ({error}). Remote data is staged by "
                "pyarrow.fs (s3://, gs://, hdfs:// and their usual credentials; "
                "AWS_ENDPOINT_URL for a server of your own) into $FUNNEL_CACHE, or read in "
                "place where tensorflow-io is installed (requirements-tfio.txt)"
            ) from None
        finally:
            beside.unlink(missing_ok=True)
        if sha256:
            write_text(path.with_name(f"{path.name}.sha256"), sha256)

    def open_file(self, file: str) -> IO[bytes]:
        """A remote file, open to be read."""
        if self.in_place:
            return tf.io.gfile.GFile(f"{self.uri}/{file}", "rb")
        filesystem, path = fs.FileSystem.from_uri(self.uri)
        return filesystem.open_input_stream(f"{path}/{file}")

    def _make_room(self, wanted: int) -> None:
        """Frees space for `wanted` bytes: removes stale files here, then unused directories, the
        least recently used first.
        """
        root, bound = self.directory.parent, self.cache_gib * GIB
        if _size(root) + wanted > bound:
            self._remove_stale()
        others = sorted(
            (p for p in root.iterdir() if (p / ".lock").exists()),
            key=lambda p: (p / ".lock").stat().st_mtime,
        )
        sizes = {other: _size(other) for other in others}
        for other in others:
            if sum(sizes.values()) + wanted <= bound:
                break
            try:
                lock = _lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # in use
                continue
            shutil.rmtree(other)
            lock.close()
            del sizes[other]
        held = sum(sizes.values())
        if held + wanted > bound:
            raise FunnelError(
                f"{self.uri}: {wanted / GIB:.2f} GiB more are to be staged, and {root} may hold "
                f"{self.cache_gib:g} GiB, of which {held / GIB:.2f} are in use: raise "
                "train.cache_gib, or read in place with tensorflow-io (requirements-tfio.txt)"
            )

    def _remove_stale(self) -> None:
        """Removes files that the manifest no longer names, and those that a killed process left,
        unless another process may read them.
        """
        shards = json.loads((self.directory / "manifest.json").read_text())["shards"]
        files = [shard["file"] for split in shards.values() for shard in split if self._has(shard)]
        kept = {".lock", *SMALL, *files, *(f"{file}.sha256" for file in files)}
        if _only_holder(self._lock):
            for path in self.directory.rglob("*"):
                if path.is_file() and str(path.relative_to(self.directory)) not in kept:
                    path.unlink()


def _hold(directory: Path) -> IO[str]:
    """Makes the directory if needed, and takes its shared lock. Repeats where another process
    removed both in between.
    """
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock(directory, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(lock.fileno()), (directory / ".lock").stat()):
                return lock
            lock.close()
        except FileNotFoundError:
            continue


def _lock(directory: Path, how: int) -> IO[str]:
    """The directory's lock, held until the file is closed.

    Raises:
        BlockingIOError: `how` has LOCK_NB, and another process holds the lock.
    """
    file = (directory / ".lock").open("a")
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        file.close()
        raise
    return file


def _only_holder(lock: IO[str]) -> bool:
    """Whether no other process holds this shared lock.

    The lock is released in between. So call it only while holding the cache's lock, without which
    no process removes a directory.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(lock, fcntl.LOCK_SH)
    return True


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
