"""What readers of results need: manifest.json, checksums of files, and lines of JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from features.errors import FunnelError

VERSION = 3  # of the files of a preprocessed directory


def recorded_checksums(manifest: dict[str, Any]) -> dict[str, str]:
    """The sha256 of each shard and of each file beside the shards, by its path in the directory."""
    files = manifest.get("files", {})
    shards = {shard["file"]: shard for split in manifest["shards"].values() for shard in split}
    return {name: recorded["sha256"] for name, recorded in (shards | files).items()}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a preprocessed directory.

    Raises:
        FunnelError: It is absent or has another version.
    """
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FunnelError(
            f"{directory}: is not a preprocessed directory ({error}); run `funnel preprocess` first"
        ) from None
    found = manifest.get("version", 1) if isinstance(manifest, dict) else None
    if found != VERSION:
        raise FunnelError(
            f"{path}: has version {found}, but this program reads version {VERSION}; "
            "run `funnel preprocess` again"
        )
    found_manifest: dict[str, Any] = manifest
    return found_manifest


def checksum(path: Path) -> dict[str, Any]:
    """A file's size and sha256, as manifests record them.

    Raises:
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> checksum(path)
        {'bytes': 0, 'sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """The `checksum` of every file below a directory, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that JSON lines are added to, up to the first one that a killed process
    left incomplete; none of an absent file.
    """
    found: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found
