"""The base of every section of the configuration: frozen, strict about keys, clear in errors."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from features.errors import FunnelError, nearest
from features.files import expand_path

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]  # also a key of the tf.Example
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}  # seconds, longest first


def parse_duration(value: Any) -> timedelta:
    """A whole number of d, h, m or s as a timedelta.

    Raises:
        ValueError: It is anything else.

    Example:
        >>> parse_duration("30m")
        datetime.timedelta(seconds=1800)
    """
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)\s*([dhms])", str(value))
    if not match:
        raise ValueError("must be a whole number and a unit (d, h, m or s), as in '30m'")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """The text of a duration, in the longest unit that is exact.

    Example:
        >>> format_duration(timedelta(minutes=90))
        '90m'
    """
    seconds = int(value.total_seconds())
    unit = next((u for u, size in UNITS.items() if seconds and seconds % size == 0), "s")
    return f"{seconds // UNITS[unit]}{unit}"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]


def _expand_all(paths: str | list[str]) -> str | list[str]:
    return expand_path(paths) if isinstance(paths, str) else [expand_path(path) for path in paths]


PathText = Annotated[str, AfterValidator(expand_path)]
PathTexts = Annotated[str | list[str], AfterValidator(_expand_all)]  # globs, as a rule


def microseconds(value: timedelta) -> int:
    """Microseconds, the unit of every time in this project."""
    return value // timedelta(microseconds=1)


class Settings(BaseModel):
    """A section of the configuration. It is frozen and refuses unknown keys, naming the nearest
    known one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key '{key}': {nearest(key, cls.model_fields)}")
        return data

    def changed(self, *names: str) -> list[str]:
        """Those of the fields that differ from their defaults. A default that is written out, as in
        a run's config.toml, does not count.
        """
        defaults = {name: type(self).model_fields[name] for name in names}
        return [
            name
            for name, field in defaults.items()
            if getattr(self, name) != field.get_default(call_default_factory=True)
        ]

    @classmethod
    def parse(cls, data: Any, where: str = "") -> Self:
        """Validates `data`.

        Args:
            data: The section as TOML or JSON has it.
            where: The section's name, which errors put before its keys.

        Raises:
            FunnelError: With one line for each mistake.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise FunnelError(
                "\n".join(dict.fromkeys(_explain(e, data, where) for e in error.errors()))
            ) from None


def _explain(error: Any, data: Any, where: str) -> str:
    named = _named(error["loc"], data, missing=error["type"] == "missing")
    path = ".".join([where, *named] if where else named)
    message = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" = {value!r}"
    return f"{path or 'configuration'}{shown}: {message}"


def _named(location: tuple[str | int, ...], data: Any, *, missing: bool) -> list[str]:
    """The keys of a location that are in the input, and the missing one: pydantic adds the tags of
    unions to a location.
    """
    found: list[str] = []
    at: Any = data
    for part in location:
        position = isinstance(at, list) and isinstance(part, int)
        if position or (isinstance(at, dict) and part in at):
            at = at[part]
        elif not (missing and part == location[-1]):
            continue
        found.append(str(part))
    return found
