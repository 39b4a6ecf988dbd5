"""All options of the program, by reflection: the fields of every class of settings.

A class is found in the source by its bases, and imported without TensorFlow.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from features.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "pipeline", "model", "funnel")
# What the program writes and reads back, not options.
DOCUMENTS = {"Outcome", "Fitted", "CalibrationMap"}
# What only other classes of settings are made of: their options are those of these.
BASES = {
    "Declarations",
    "ExpertParams",
    "FeatureKind",
    "FunnelParams",
    "IdFeature",
    "LogConfig",
    "NetworkParams",
    "OptimizerOptions",
    "SharingParams",
    "Valued",
    "Warm",
    "WeightingParams",
}
# The name of an entry or of a kind is an option of the section that names it.
ENTRIES = {
    "ModelConfig.sharing",
    "ModelConfig.funnel",
    "ModelConfig.weighting",
    "TrainConfig.optimizer",
    "TrainConfig.embedding_optimizer",
    "TrainConfig.schedule",
    "Spec.features",
}

# Sections that a command takes, and what replaces some of them.
BASE = {
    "run": "runs/x",
    "logs": {
        name: {"files": f"{name}/*.jsonl", "id": "id", "time": "ts"}
        for name in ("impressions", "clicks", "conversions")
    },
    "labels": {
        "click": {"event": "clicks", "within": "30m"},
        "convert": {"event": "conversions", "within": "1d", "after": "click"},
    },
    "features": {
        "user": {"kind": "categorical", "buckets": 40, "dim": 4},
        "tags": {"kind": "categorical", "buckets": 20, "dim": 4, "max_length": 3},
        "recent": {"kind": "sequence", "column": "tags", "buckets": 20, "max_length": 2},
        "hour": {"kind": "time", "column": "at", "part": "hour"},
        "price": {"kind": "numeric"},
        "band": {"kind": "bucketized", "column": "price", "boundaries": [1]},
    },
    "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}},
    "model": {"sharing": {"name": "mmoe"}, "funnel": {"name": "esmm"}},
}
NUMBERS = {"features": {"price": {"kind": "numeric"}}}
CLICKS = {"tasks": {"ctr": {"label": "click"}}}
TABLE = {  # without events
    "logs": {"table": {"files": "table/*.csv"}},
    "labels": {"click": {"column": "click"}},
    "features": {"user": BASE["features"]["user"]},
    **CLICKS,
    "model": {},
}
ALONE = CLICKS | {"labels": {"click": BASE["labels"]["click"]}, "model": {}}
ALONE["logs"] = {name: BASE["logs"][name] for name in ("impressions", "clicks")}


@functools.cache
def classes() -> dict[str, tuple[str, set[str]]]:
    """{class of settings: (its module, the names of its bases)}."""
    found: dict[str, tuple[str, set[str]]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases = {b.id for b in node.bases if isinstance(b, ast.Name)}
                    found[f"{module}:{node.name}"] = (module, bases)
    names, more = set[str](), {"Settings"}
    while more - names:
        names |= more
        more = {key.partition(":")[2] for key, (_, bases) in found.items() if bases & names}
    ours: dict[str, tuple[str, set[str]]] = {}
    for key, value in found.items():
        name = key.partition(":")[2]
        if value[1] & names:
            assert name not in ours, f"two classes of settings are called {name}"
            ours[name] = value
    return ours


def options() -> set[str]:
    """Every option as "Class.field"."""
    found = set()
    for name, (module, _) in classes().items():
        if name in DOCUMENTS | BASES:
            continue
        settings = getattr(importlib.import_module(module), name)
        for field, info in settings.model_fields.items():
            if not _is_section(name, field, info.annotation):
                found.add(f"{name}.{field}")
    return found


def _is_section(name: str, field: str, annotation: Any) -> bool:
    """Whether a field is the name of its own class, can only have one value, or is a table of other
    settings, whose options are counted there.
    """
    if f"{name}.{field}" in ENTRIES:
        return False
    if field in ("name", "kind") or annotation is type(None):
        return True
    inner = [part for part in _parts(annotation) if isinstance(part, type)]
    return any(issubclass(part, Settings) and part.model_fields for part in inner)


def _parts(annotation: Any) -> Iterator[Any]:
    if not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def digest(folder: Path) -> str:
    """Of the names and bytes of all files below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested tables with the values of dotted keys; None removes a key."""
    found = copy.deepcopy(base)
    for key, value in changes.items():
        *parents, last = key.split(".")
        at = found
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
        if value is None:
            del at[last]
    return found


_seen: dict[str, Any] = {}
_steady: set[str] = set()


def differs(observe: Callable[[Any], Any], base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Asserts that a change shows, and that what is observed does not differ by itself."""
    name = observe.__qualname__
    key = f"{name} {base}"
    if key not in _seen:
        _seen[key] = observe(base)
    if name not in _steady:
        assert _seen[key] == observe(base), "what is observed differs by itself"
        _steady.add(name)
    assert observe(changed(base, changes)) != _seen[key], f"{changes} changes nothing"
