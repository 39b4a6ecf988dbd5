"""The Arrow types with which the columns of JSON lines are parsed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from features.arrays import ARROW_TYPES
from features.errors import FunnelError

TYPES = ARROW_TYPES | {"time": pa.float64()}  # a time may have a fraction
# Types that Arrow parses for a column of texts as long as no value is of another one.
AS_TEXTS = {kind: pa.string() for kind in (pa.int64(), pa.uint64(), pa.bool_())}
AS_TEXTS |= {pa.list_(kind): pa.list_(pa.string()) for kind in AS_TEXTS}
UNSIGNED = {pa.int64(): pa.uint64(), pa.list_(pa.int64()): pa.list_(pa.uint64())}


def arrow_type(column: str, raw_type: str, rows: Iterable[dict[str, Any]]) -> pa.DataType | None:
    """The Arrow type of a column: that of its raw type if some value has it, else that of the
    first value; None where no row has a value.

    Arrow's own inference turns texts that look like dates into times, which would change their
    hash.
    """
    own = TYPES[raw_type]
    values = (row.get(column) for row in rows)
    found = [_value_type(value, raw_type) for value in values if value not in (None, [])]
    chosen = own if own in found else _widest(found)
    if chosen is not None and pa.types.is_struct(chosen):
        raise FunnelError(
            f"column '{column}' holds JSON objects: name a column of texts, numbers or lists"
        )
    return chosen


def _widest(types: list[pa.DataType]) -> pa.DataType | None:
    """The type of unsigned integers if one needs it, else the first."""
    unsigned = (t for t in types if t in UNSIGNED.values())
    return next(unsigned, types[0] if types else None)


def _value_type(value: object, raw_type: str) -> pa.DataType:
    if isinstance(value, list):
        inner = "number" if raw_type == "numbers" else "text"
        types = [_value_type(one, inner) for one in value if one is not None]
        return pa.list_(pa.string() if pa.string() in types else _widest(types) or pa.string())
    if isinstance(value, dict):
        return pa.struct([])
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, float) or (isinstance(value, int) and raw_type in ("number", "time")):
        return pa.float64()
    if isinstance(value, int):
        return pa.uint64() if 2**63 <= value < 2**64 and raw_type == "text" else pa.int64()
    return pa.string()


def replaced(
    schema: pa.Schema, columns: Collection[str], types: Mapping[pa.DataType, pa.DataType]
) -> pa.Schema:
    """The schema with other types of some columns, by the types they have."""
    return pa.schema(
        (f.name, types.get(f.type, f.type) if f.name in columns else f.type) for f in schema
    )
