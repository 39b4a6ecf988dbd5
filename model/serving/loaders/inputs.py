"""A request's JSON as arrays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np


def arrays(inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """{signature: {name: {"dtype", "values"}}} → arrays by signature and name; texts are objects
    that hold bytes.
    """
    return {
        signature: {name: array(**column) for name, column in columns.items()}
        for signature, columns in inputs.items()
    }


def array(dtype: str, values: list) -> np.ndarray:
    """A column of a request; texts as bytes."""
    if dtype != "string":
        return np.array(values, dtype)
    return np.array(encoded(values), object)


def encoded(value: Any) -> Any:
    """Texts, and bytes in base64, as bytes, in lists of any depth."""
    if isinstance(value, list):
        return [encoded(one) for one in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
