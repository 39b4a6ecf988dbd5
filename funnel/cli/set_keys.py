"""What --set can name: the keys of every section, from the classes that validate them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from features.errors import FunnelError
from features.kinds import KINDS
from features.labels import ColumnLabel, EventLabel, Task, ValueLabel
from features.settings import Settings
from funnel.config.overrides import read_toml
from funnel.config.sections import EvaluationConfig, Exporters, WarmStartConfig
from model.config import ModelConfig
from model.settings.dense import OPTIMIZERS
from model.settings.funnels import FUNNEL_PARAMS
from model.settings.rules import RULE_PARAMS
from model.settings.sharing import SHARING_PARAMS
from model.settings.weighting import WEIGHTING_PARAMS
from model.training.config import RunConfig, TrainConfig
from pipeline.config import Output, Stream
from pipeline.labeling.config import Sampling, Split
from pipeline.simulation.config import SimulateConfig

SECTIONS: dict[str, list[type[Settings]]] = {
    "model": [ModelConfig],
    "train": [TrainConfig, RunConfig],
    "simulate": [SimulateConfig],
    "split": [Split],
    "sampling": [Sampling],
    "output": [Output],
    "warm_start": [WarmStartConfig],
    "evaluation": [EvaluationConfig],
    "exporters": [Exporters],
}
ENTRIES: dict[str, Iterable[str]] = {  # keys that name one of several classes
    "model.sharing": SHARING_PARAMS,
    "model.funnel": FUNNEL_PARAMS,
    "model.weighting": WEIGHTING_PARAMS,
    "train.optimizer": OPTIMIZERS,
    "train.embedding_optimizer": RULE_PARAMS,
}
NAMED: dict[str, list[type[Settings]]] = {  # sections of tables that the user names
    "logs": [Stream],
    "labels": [EventLabel, ColumnLabel, ValueLabel],
    "features": list(KINDS.values()),
    "tasks": [Task],
}
TOP = ("run", "data", "dates")


def assignments(prefix: str, config: Path | None) -> list[str]:
    """What can follow `--set`: "key=" for each key, or after the "=" each value of a key that has
    few.

    Args:
        prefix: What is typed so far.
        config: The configuration file, which names the streams, labels, features and tasks. One
            that cannot be read names none.

    Example:
        >>> assignments("split.eval.f", None)
        ['split.eval.files=', 'split.eval.fraction=']
    """
    known, (key, equals, _) = keys(config), prefix.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(known.get(key))]
    return sorted(f"{name}=" for name in known if name.startswith(prefix))


def keys(config: Path | None) -> dict[str, Any]:
    """{dotted key: its type} of every section."""
    found: dict[str, Any] = dict.fromkeys(TOP, str)
    for section, classes in SECTIONS.items():
        for settings in classes:
            found |= dict(_fields(settings, section))
    found |= {key: Literal[*names] for key, names in ENTRIES.items()}
    for section, tables in _tables(config).items():
        for name, table in tables.items():
            for settings in _classes(section, table):
                found |= dict(_fields(settings, f"{section}.{name}"))
    return found


def _tables(config: Path | None) -> dict[str, dict[str, Any]]:
    try:
        content = read_toml(config) if config else {}
    except FunnelError:
        return {}
    sections = {section: content.get(section) for section in NAMED}
    return {name: tables for name, tables in sections.items() if isinstance(tables, dict)}


def _classes(section: str, table: Any) -> list[type[Settings]]:
    """The classes that may validate a table; of a feature the one of its kind."""
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return [KINDS[kind]] if section == "features" and kind in KINDS else NAMED[section]


def _fields(settings: type[Settings], where: str) -> Iterator[tuple[str, Any]]:
    """A table without keys is one of its own, as in exporters.final={}."""
    for name, field in settings.model_fields.items():
        key, parts = f"{where}.{name}", list(_parts(field.annotation))
        if key in ENTRIES:
            continue
        nested = [p for p in parts if isinstance(p, type) and issubclass(p, Settings)]
        inner = [pair for part in nested for pair in _fields(part, key)]
        yield from inner or [(key, field.annotation)]


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that a union or an annotation consists of; those in lists and mappings are not
    among them.
    """
    if get_origin(annotation) in (list, dict, tuple, Literal):
        yield annotation
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def _values(annotation: Any) -> list[str]:
    """The values of a Literal or a boolean as TOML or bare text; none for other types."""
    found: list[str] = []
    for part in _parts(annotation):
        if get_origin(part) is Literal:
            found += [str(value) for value in get_args(part)]
        elif part is bool:
            found += ["true", "false"]
    return found
