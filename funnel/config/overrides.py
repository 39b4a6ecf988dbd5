"""The TOML file, and values that replace its own."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from features.errors import FunnelError, nearest
from features.files import check_file


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises FunnelError where it cannot be read."""
    check_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FunnelError(
            f"{path}: cannot be read ({error.strerror}); `funnel init` writes one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FunnelError(f"{path}: is not TOML: {error}") from None


def plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as a TOML file would give it: a path or a date is a text.

    Example:
        >>> plain({"run": Path("runs/mine"), "train": {"profile": (1, 2)}})
        {'run': 'runs/mine', 'train': {'profile': [1, 2]}}
    """
    copied: dict[str, Any] = json.loads(json.dumps(dict(content), default=str))
    return copied


def override(
    content: dict[str, Any], overrides: Mapping[str, Any] | Iterable[str], sections: list[str]
) -> None:
    """Replaces values of `content` in place.

    Args:
        content: The file's content.
        overrides: Values by key, or texts, as in "train.steps=1000".
        sections: The known top-level keys.

    Example:
        >>> content = {"train": {"epochs": 1}}
        >>> override(content, {"train.steps": 10}, ["train"])
        >>> override(content, ["train.epochs=2"], ["train"])
        >>> content
        {'train': {'epochs': 2, 'steps': 10}}
    """
    if isinstance(overrides, Mapping):
        for key, value in plain(overrides).items():
            _set(content, key, value, f"overrides['{key}']", sections)
        return
    for text in [overrides] if isinstance(overrides, str) else overrides:
        key, value = _parse(text)
        _set(content, key, value, f"--set {text}", sections)


def _parse(text: str) -> tuple[str, Any]:
    """The key and the value of section.key=value. The value is TOML or a bare text; a date stays
    text, which settings of times parse.
    """
    key, equals, written = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise FunnelError(f"--set {text}: must be section.key=value, as in train.steps=1000")
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        value = written
    return key.strip(), written.strip() if isinstance(value, date | time) else value


def _set(content: dict[str, Any], key: str, value: Any, shown: str, sections: list[str]) -> None:
    """Sets content[section][key] = value. `shown` is the override as errors name it."""
    *parents, last = key.split(".")
    at = content
    for depth, parent in enumerate(parents):
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise FunnelError(
                f"{shown}: {'.'.join(parents[: depth + 1])} is {at!r}, which holds no keys"
            )
    if not parents and last not in sections:
        raise FunnelError(f"{shown}: unknown section '{last}': {nearest(last, sections)}")
    at[last] = value
