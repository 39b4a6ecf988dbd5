"""Sections → the text of a TOML file, aligned and commented for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from features.errors import UNSEEN

BARE = re.compile(r"[A-Za-z0-9_-]+")
KEYS = 28  # characters to which keys are padded
VALUES = 64  # characters to which values are padded
FOLDED = 88  # characters beyond which a list takes several lines


@dataclass
class Line:
    """`key = value  # comment`."""

    key: str
    value: Any
    comment: str = ""


@dataclass
class Section:
    """`[name]  # comment`, its lines, and notes below them as comments. The section without a name
    comes first.
    """

    name: str
    lines: list[Line]
    comment: str = ""
    notes: list[str] = field(default_factory=list)


def render(head: list[str], sections: list[Section]) -> str:
    """The text of the file: `head` as comments, then the sections."""
    blocks = ["\n".join(_comment(line) for line in head)] if head else []
    blocks += [_section(section) for section in sections]
    return "\n\n".join(blocks) + "\n"


def value(content: Any) -> str:
    """A value as TOML writes it.

    Example:
        >>> value({"kind": "numeric", "of": ["a b", 1_000_000], "π": True})
        '{ kind = "numeric", of = ["a b", 1_000_000], "π" = true }'
    """
    if isinstance(content, str):
        return _text(content)
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, int):
        return f"{content:_}" if abs(content) >= 10_000 else str(content)
    if isinstance(content, float):
        return repr(content)
    if isinstance(content, Mapping):
        return "{ " + ", ".join(f"{key(k)} = {value(v)}" for k, v in content.items()) + " }"
    if isinstance(content, list):
        return "[" + ", ".join(value(one) for one in content) + "]"
    raise TypeError(f"{type(content).__name__} is not a value of TOML")


def key(name: str) -> str:
    """A key, quoted unless it is bare.

    Example:
        >>> key("user_id"), key("user id")
        ('user_id', '"user id"')
    """
    return name if BARE.fullmatch(name) else _text(name)


def _section(section: Section) -> str:
    lines = []
    if section.name:
        heading = ".".join(key(part) for part in section.name.split("."))
        lines.append(f"[{heading}]" + _after(section.comment))
    elif section.comment:
        lines.append(_comment(section.comment))
    keys = [key(line.key) for line in section.lines]
    values = [_long(line.value) for line in section.lines]
    keys_width = min(max(map(len, keys), default=0), KEYS)
    short = [len(v) for v, line in zip(values, section.lines, strict=True) if line.comment]
    width = min(max((n for n in short if n <= VALUES), default=0), VALUES)
    for name, text, line in zip(keys, values, section.lines, strict=True):
        padded = text.ljust(width) if line.comment else text
        lines.append(f"{name.ljust(keys_width)} = {padded}" + _after(line.comment))
    return "\n".join([*lines, *(_comment(note) for note in section.notes)])


def _long(content: Any) -> str:
    """A value, a long list over several lines."""
    text = value(content)
    if not isinstance(content, list) or len(text) <= FOLDED:
        return text
    lines, row = [], ""
    for one in content:
        item = value(one) + ","
        if row and len(row) + len(item) >= FOLDED:
            lines.append(row)
            row = ""
        row += f" {item}" if row else f"  {item}"
    return "\n".join(["[", *lines, row, "]"])


def _text(text: str) -> str:
    """A basic string. JSON escapes as TOML does, but fewer characters."""
    return UNSEEN.sub(lambda m: f"\\U{ord(m[0]):08x}", json.dumps(text, ensure_ascii=False))


def _comment(text: str) -> str:
    return f"# {' '.join(UNSEEN.sub(' ', text).splitlines())}".rstrip()


def _after(comment: str) -> str:
    return f"  {_comment(comment)}" if comment else ""
