"""Preprocessed files, compared with the manifest's checksums before they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.manifest import checksum, recorded_checksums
from model.data.remote_cache import CHUNK, SMALL, RemoteDirectory


class Verifier:
    """Compares each file with its checksum when it is asked for first.

    Args:
        directory: the preprocessed directory; of a remote one the local copy.
        manifest: its manifest.
        remote: the remote directory.
    """

    def __init__(
        self, directory: Path, manifest: dict[str, Any], remote: RemoteDirectory | None
    ) -> None:
        self._directory, self._remote = directory, remote
        self._pending = recorded_checksums(manifest)

    def verify_small(self) -> None:
        """Verifies the files that are read whenever the directory is opened."""
        self.verify([name for name in SMALL if name in self._pending])

    def verify(self, files: Sequence[str]) -> None:
        """Verifies those of the files that have not been verified yet.

        Args:
            files: their paths in the directory.

        Raises:
            FunnelError: one has another checksum than its manifest says.
        """
        files = [file for file in files if file in self._pending]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._checksum, files))
        for file, (where, sha256) in zip(files, found, strict=True):
            recorded = self._pending.pop(file)
            if sha256 != recorded:
                raise FunnelError(
                    f"{where}: its sha256 is {sha256}, its manifest says {recorded}; "
                    f"{self._remedy(file)}"
                )

    def _checksum(self, file: str) -> tuple[str, str]:
        """Where a file is read, and its sha256."""
        path = self._directory / file
        try:
            if self._remote is not None and self._remote.in_place and file not in SMALL:
                return f"{self._remote.uri}/{file}", self._of_remote(file, self._remote)
            return str(path), checksum(path)["sha256"]
        except OSError as error:
            raise FunnelError(
                f"{path}: cannot be read ({error.strerror or error}); {self._remedy(file)}"
            ) from None

    @staticmethod
    def _of_remote(file: str, remote: RemoteDirectory) -> str:
        digest = hashlib.sha256()
        with remote.open_file(file) as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _remedy(self, file: str) -> str:
        if self._remote is None:
            return "run `funnel preprocess` again, or copy it whole"
        if self._remote.in_place or file in SMALL:  # which are copied whenever it is opened
            return f"upload it to {self._remote.uri} again"
        return "remove this copy, so that it is copied again"
