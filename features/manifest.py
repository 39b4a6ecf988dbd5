"""manifest.json: what a preprocessed directory holds, written by the pipeline for its readers."""

from __future__ import annotations

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
