"""Dataclasses ↔ JSON files, checked against the types of their fields: what the steps of a job
leave for each other on disk. Arrays are base64 of NumPy's format, without its pickled objects.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from numpy.lib import format as npy
from pydantic import ConfigDict, PlainSerializer, PlainValidator, TypeAdapter

T = TypeVar("T")
CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


def _to_text(array: np.ndarray) -> str:
    file = io.BytesIO()
    npy.write_array(file, array, allow_pickle=False)
    return base64.b64encode(file.getbuffer()).decode()


def _from_text(text: object) -> np.ndarray:
    if not isinstance(text, str):
        raise ValueError("an array is a text in base64")
    file = io.BytesIO(base64.b64decode(text, validate=True))
    array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array


Array = Annotated[np.ndarray, PlainValidator(_from_text), PlainSerializer(_to_text)]


def from_key(key: str) -> list[str]:
    """The integers of a tuple that is a key of a JSON object."""
    return key.split(",") if key else []


def write_all(path: Path, kind: type[T], values: list[T]) -> None:
    """Writes dataclasses of one kind, whose arrays are annotated as Array."""
    path.write_bytes(_adapter(kind).dump_json(values))


def read_all(path: Path, kind: type[T]) -> list[T]:
    """The dataclasses that `write_all` wrote.

    Raises:
        ValueError: The file holds anything else.

    Example:
        >>> import tempfile
        >>> from pipeline.spans import Spans
        >>> path = Path(tempfile.mkdtemp()) / "spans.json"
        >>> write_all(path, Spans, [Spans(5, np.array([[1, 2, 2]]))])
        >>> read_all(path, Spans)
        [Spans(gap=5, table=array([[1, 2, 2]]))]
    """
    return _adapter(kind).validate_json(path.read_bytes())


def _adapter(kind: type[T]) -> TypeAdapter[list[T]]:
    return TypeAdapter(list[kind], config=CONFIG)  # type: ignore[valid-type]
