"""The base of every configuration model: frozen, unknown keys refused, errors that name the key."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from features.errors import FunnelError, nearest

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]  # also a key of the tf.Example
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}  # seconds, longest first


def parse_duration(value: Any) -> timedelta:
    """'30m' → timedelta. Accepts whole numbers of d, h, m or s; raises ValueError for anything
    else.
    """
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)\s*([dhms])", str(value))
    if not match:
        raise ValueError("must be a whole number and a unit (d, h, m or s), as in '30m'")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """timedelta → '30m', in the longest unit that is exact."""
    seconds = int(value.total_seconds())
    unit = next((u for u, size in UNITS.items() if seconds and seconds % size == 0), "s")
    return f"{seconds // UNITS[unit]}{unit}"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]


def microseconds(value: timedelta) -> int:
    """The unit of every time in this project."""
    return value // timedelta(microseconds=1)


class Settings(BaseModel):
    """A section of the configuration. Frozen; refuses keys that it does not know and names the
    nearest one.
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

    @classmethod
    def parse(cls, data: Any, where: str = "") -> Self:
        """Validates `data`. Raises FunnelError with one line for each mistake, its key written as
        `where.key`.
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


def _named(place: tuple[str | int, ...], data: Any, *, missing: bool) -> list[str]:
    """The parts of a place that are found in the input, and what is missing there: pydantic puts
    the tag of a union between.
    """
    found: list[str] = []
    at: Any = data
    for part in place:
        position = isinstance(at, list) and isinstance(part, int)
        if position or (isinstance(at, dict) and part in at):
            at = at[part]
        elif not (missing and part == place[-1]):
            continue
        found.append(str(part))
    return found
