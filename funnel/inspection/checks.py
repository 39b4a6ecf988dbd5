"""Compares files with their recorded checksums.

Manifests record the sha256 of a preprocessed directory's files and of an export's. A checkpoint
records the crc32c of each tensor, and a TFRecord that of each record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.manifest import checksum, read_manifest
from funnel.inspection.directories import read_json, versions_of_run
from funnel.inspection.kinds import is_tfrecord
from funnel.reports.tfrecords import record_batches

CHECKED = ("run", "data", "model", "checkpoints", "export", "version", "tfrecord", "tfrecords")
Result = dict[str, Any]
Check = Callable[[], Result]


def check(kind: str, path: Path, progress: Callable[[int, int], None]) -> list[Result]:
    """{file, bytes, status, detail} of each file; status is ok, damaged, missing or unrecorded.

    Args:
        kind: The kind of the path.
        path: The directory or file.
        progress: Receives how many files are done, and how many there are.

    Raises:
        FunnelError: Nothing of this kind has recorded checksums.
    """
    if kind not in CHECKED:
        raise FunnelError(
            f"{path}: --check compares files with recorded checksums, and logs and experiments "
            "have none; give a run, data/, model/, export/ or a TFRecord"
        )
    checks = list(_checks(kind, path))
    results = []
    for number, one in enumerate(checks):
        progress(number, len(checks))
        results.append(one())
    return results


def raise_if_damaged(results: list[Result]) -> None:
    """Raises FunnelError that names the first file that is damaged or missing."""
    bad = [result for result in results if result["status"] in ("damaged", "missing")]
    if bad:
        first = bad[0]
        detail = f" ({first['detail']})" if first["detail"] else ""
        raise FunnelError(
            f"{first['file']}: is {first['status']}{detail}; {len(bad)} of {len(results)} files "
            "are not as they were written; copy them again, or run the stage that writes them again"
        )


def _checks(kind: str, path: Path) -> Iterator[Check]:
    if kind == "run":
        if (path / "data" / "manifest.json").exists():
            yield from _data(path / "data")
        if (path / "model" / "checkpoints").exists():
            yield from _checkpoints(path / "model" / "checkpoints")
        for version in versions_of_run(path):
            yield from _version(version)
    elif kind == "data":
        yield from _data(path)
    elif kind == "model":
        yield from _checkpoints(path / "checkpoints")
    elif kind == "checkpoints":
        yield from _checkpoints(path)
    elif kind == "version":
        yield from _version(path)
    elif kind == "export":
        for version in versions_of_run(path):
            yield from _version(version)
    else:
        files = [path] if path.is_file() else sorted(filter(is_tfrecord, path.iterdir()))
        yield from (_call(_check_records, file) for file in files)


def _call(function: Callable[..., Result], *arguments: Any) -> Check:
    return lambda: function(*arguments)


def _data(data: Path) -> Iterator[Check]:
    manifest = read_manifest(data)
    recorded = {
        shard["file"]: shard for shards in manifest["shards"].values() for shard in shards
    } | manifest.get("files", {})
    yield from (_call(_check_sum, data / name, recorded[name]) for name in recorded)
    if "files" not in manifest:
        names = ("spec.json", "fitted.json", "schema.pbtxt", "statistics.json", "sample.parquet")
        yield from (_call(_check_sum, data / name, None) for name in names)


def _version(version: Path) -> Iterator[Check]:
    recorded = read_json(version / "assets.extra" / "manifest.json").get("files")
    if recorded is None:  # of a version of funnel that recorded none, or of another program
        names = sorted(p.relative_to(version) for p in version.rglob("*") if p.is_file())
        recorded = {str(name): None for name in names}
    yield from (_call(_check_sum, version / name, recorded[name]) for name in recorded)


def _checkpoints(folder: Path) -> Iterator[Check]:
    """One check for each checkpoint and each iterator's state: of those that have a file, and those
    in TensorFlow's list.
    """
    names = {path.stem for path in folder.glob("ckpt-*.index")}
    names |= {path.name.partition(".data-")[0] for path in folder.glob("ckpt-*.data-*")}
    if (folder / "checkpoint").exists():
        names |= set(re.findall(r'"(ckpt-\d+)"', (folder / "checkpoint").read_text()))
    yield from (_call(_check_tensors, folder / f"{name}.index") for name in sorted(names))


def _check_sum(path: Path, recorded: dict[str, Any] | None) -> Result:
    try:
        found = checksum(path)
    except FileNotFoundError:
        return _result(path, None, "missing")
    except OSError as error:
        return _result(path, None, "damaged", error.strerror or str(error))
    if recorded is None:
        return _result(path, found["bytes"], "unrecorded")
    if found["bytes"] != recorded["bytes"]:
        detail = f"{found['bytes']:,} bytes, the manifest says {recorded['bytes']:,}"
        return _result(path, found["bytes"], "damaged", detail)
    if found["sha256"] != recorded["sha256"]:
        detail = f"its sha256 is {found['sha256']}, the manifest says {recorded['sha256']}"
        return _result(path, found["bytes"], "damaged", detail)
    return _result(path, found["bytes"], "ok", "sha256")


def _check_records(path: Path) -> Result:
    size = path.stat().st_size
    try:
        rows = sum(map(len, record_batches(path)))
    except FunnelError as error:
        detail = str(error).removeprefix(f"{path}: ").removeprefix("is ").split("; ")[0]
        return _result(path, size, "damaged", detail)
    return _result(path, size, "ok", f"crc32c of {rows:,} records")


def _check_tensors(index: Path) -> Result:
    """Reads every tensor of a checkpoint, or of an iterator's state, one after the other:
    TensorFlow then compares its crc32c.
    """
    prefix = index.with_suffix("")  # by which TensorFlow names a checkpoint
    if not index.exists():
        return _result(index, None, "missing")
    from funnel.console import load_tensorflow

    load_tensorflow()
    from model.estimator.checkpoint_files import READ_ERRORS, brief, read_tensors

    files = [path for path in index.parent.glob(f"{prefix.name}.*") if path.stem == prefix.name]
    size = sum(path.stat().st_size for path in files)
    try:
        count = read_tensors(str(prefix))
    except READ_ERRORS as error:
        return _result(prefix, size, "damaged", brief(error))
    return _result(prefix, size, "ok", f"crc32c of {count:,} tensors")


def _result(path: Path, size: int | None, status: str, detail: str = "") -> Result:
    return {"file": str(path), "bytes": size, "status": status, "detail": detail}
