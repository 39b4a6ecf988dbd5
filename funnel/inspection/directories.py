"""Documents of the directories that funnel writes: plain values, as JSON holds them."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.fitted import Fitted
from features.manifest import read_manifest
from features.spec import Spec
from funnel.inspection import schema
from funnel.inspection.saved_model import read_signatures

Document = dict[str, Any]
MOST_RECENT = 4_000_000_000  # seconds; a larger version of an export is not a time


def read_json(path: Path) -> Document:
    """The object in a JSON file; {} if it does not exist.

    Raises:
        FunnelError: It cannot be read, is not JSON, or holds no object.
    """
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FunnelError(
            f"{path}: cannot be read as JSON ({error}); remove it and run the stage that writes it "
            "again, or put back a copy"
        ) from None


def describe_run(run: Path) -> Document:
    """What a run holds, as far as its stages have run."""
    summary, stages = read_json(run / "summary.json"), read_json(run / ".stages.json")
    seconds = summary.get("seconds", {})
    names = list(dict.fromkeys([*stages, *seconds]))
    return {
        "configuration": _configuration(run / "config.toml"),
        "funnel": summary.get("funnel"),
        "stages": {
            name: {"done": stages.get(name, {}).get("done", True), "seconds": seconds.get(name)}
            for name in names
        },
        "data": describe_data(run / "data") if (run / "data" / "manifest.json").exists() else None,
        "model": describe_model(run / "model") if (run / "model").exists() else None,
        "exports": [describe_version(path) for path in versions_of_run(run)],
        "evaluation": summary.get("evaluation", {}),
        "warnings": summary.get("evaluation_warnings", [])
        + summary.get("health", {}).get("warnings", []),
    }


def describe_data(data: Path) -> Document:
    """A preprocessed directory: its splits, features, labels, tasks, schema and statistics."""
    manifest = read_manifest(data)
    spec = Spec.load(data / "spec.json")
    if spec.fingerprint != manifest["fingerprint"]:
        raise FunnelError(
            f"{data}: spec.json (fingerprint {spec.fingerprint}) and manifest.json (fingerprint "
            f"{manifest['fingerprint']}) belong to different preprocessings; put back the file "
            "that was replaced, or run `funnel preprocess` again"
        )
    fitted = Fitted.load(data / "fitted.json")
    declared = spec.model_dump(mode="json", exclude_none=True)
    return {
        "written": _time(data / "manifest.json"),
        "splits": {
            split: {
                "rows": sum(shard["rows"] for shard in shards),
                "shards": len(shards),
                "bytes": sum(shard["bytes"] for shard in shards),
            }
            for split, shards in manifest["shards"].items()
        },
        **{key: manifest[key] for key in ("layout", "compression", "weighted", "fingerprint")},
        "features": schema.features(spec, fitted),
        "labels": {name: schema.label(label) for name, label in spec.labels.items()},
        "tasks": declared["tasks"],
        "schema": schema.schema(
            spec, manifest["layout"], weighted=manifest["weighted"], fitted=fitted
        ),
        **{key: manifest[key] for key in ("rows", "inputs", "events", "calendar", "dates")},
        "statistics": read_json(data / "statistics.json"),
        "warnings": manifest["warnings"],
    }


def describe_model(model: Path) -> Document:
    """A model's directory: what was trained, and its checkpoints."""
    content = read_json(model / "model.json")
    described = content.get("model", {})
    parts = ("sharing", "funnel", "weighting")
    return {
        "written": _time(model / "model.json"),
        "architecture": {part: described.get(part, {}).get("name") for part in parts},
        "training": {
            key: content.get("train", {}).get(key) for key in ("batch_size", "learning_rate")
        }
        | content.get("mode", {}),
        "training_rows": content.get("chosen", {}).get("rows"),
        **describe_checkpoints(model / "checkpoints"),
    }


def describe_checkpoints(folder: Path) -> Document:
    """The steps of the checkpoints, the latest last, each with its time and bytes."""
    sizes: Counter[int] = Counter()
    for path in folder.glob("ckpt-*"):
        step = path.name.removeprefix("ckpt-").split(".")[0]
        if step.isdecimal() and path.is_file():
            sizes[int(step)] += path.stat().st_size
    indices = {step: folder / f"ckpt-{step}.index" for step in sorted(sizes)}
    return {
        "checkpoints": [
            {"step": step, "written": _time(index), "bytes": sizes[step]}
            for step, index in indices.items()
            if index.exists()
        ]
    }


def describe_export(export: Path) -> Document:
    """An export's directory: each version, the latest last, and what the best one was chosen by."""
    return {
        "exports": [describe_version(path) for path in _versions(export)],
        "best": read_json(export / "best.json") or None,
    }


def describe_version(version: Path) -> Document:
    """One exported version: its signatures, size, how it was compared with the checkpoint, and how
    that was evaluated.
    """
    found = read_signatures(version)
    checked = read_json(version / "assets.extra" / "manifest.json")
    number = int(version.name) if version.name.isdecimal() else None
    exported = number if number and number < MOST_RECENT else None
    return {
        "path": str(version),
        "version": number,
        "written": _iso(exported) if exported else _time(version / "saved_model.pb"),
        "bytes": sum(path.stat().st_size for path in version.rglob("*") if path.is_file()),
        **found,
        "compared_rows": checked.get("rows"),
        "max_abs_difference": checked.get("max_abs_difference"),
        "loaders": list(checked.get("loaders", {})),
        "step": checked.get("step"),
        "evaluation": checked.get("evaluation"),
        "warnings": checked.get("warnings", []),
    }


def describe_simulation(logs: Path) -> Document:
    """What a simulation counted, and its configuration."""
    counts = read_json(logs / "simulation.json")
    return {
        "written": _time(logs / "simulation.json"),
        "configuration": counts.pop("config", {}),
        "counts": counts,
    }


def describe_experiment(folder: Path) -> Document:
    """The seeds measured for each setting, and the summary of the metrics."""
    seeds: dict[str, list[int]] = {}
    try:
        for line in (folder / "results.jsonl").read_text().splitlines():
            result = json.loads(line)
            seeds.setdefault(result["setting"], []).append(result["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FunnelError(
            f"{folder / 'results.jsonl'}: is not the results of an experiment ({error}); run "
            "`funnel experiment` again"
        ) from None
    return {
        "written": _time(folder / "results.jsonl"),
        "seeds": seeds,
        "summary": read_json(folder / "summary.json"),
    }


def versions_of_run(run: Path) -> list[Path]:
    """The versions in the run's directories of exports, the latest last in each."""
    parents = sorted({path.parents[1] for path in run.glob("**/[0-9]*/saved_model.pb")})
    return [version for parent in parents for version in _versions(parent)]


def _versions(export: Path) -> list[Path]:
    found = [path.parent for path in export.glob("*/saved_model.pb")]
    return sorted((p for p in found if p.name.isdecimal()), key=lambda p: int(p.name))


def _configuration(path: Path) -> Document | None:
    """The resolved configuration's place and identity, 16 digits of its sha256; the logs that it
    names, and the preprocessed directory, if that is not the run's own.
    """
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        settings = tomllib.loads(content.decode())
    except ValueError as error:
        raise FunnelError(
            f"{path}: is not TOML ({error}); the next `funnel run` of the configuration writes it "
            "again"
        ) from None
    return {
        "path": str(path),
        "sha256": hashlib.sha256(content).hexdigest()[:16],
        "written": _time(path),
        "logs": {name: stream["files"] for name, stream in settings.get("logs", {}).items()},
        "data": settings.get("data"),
    }


def _time(path: Path) -> str | None:
    """When a file was last written, to the second, UTC; None if it does not exist."""
    return _iso(os.path.getmtime(path)) if path.exists() else None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


DESCRIBE: dict[str, Callable[[Path], Document]] = {
    "run": describe_run,
    "data": describe_data,
    "model": describe_model,
    "checkpoints": describe_checkpoints,
    "export": describe_export,
    "version": describe_version,
    "simulation": describe_simulation,
    "experiment": describe_experiment,
}
