"""Raw rows as requests: a tensor for each column, or a serialized tf.Example for each row."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from features import graph
from features.declarations import input_name
from features.errors import FunnelError
from features.kinds import lists
from features.spec import Spec

Inputs = dict[str, dict[str, dict[str, Any]]]  # {signature: {input: {"dtype", "values"}}}


def requests(spec: Spec, rows: pa.Table) -> Inputs:
    """The rows as inputs of every signature, as JSON. Bytes are {"b64": text}, as in TF Serving's
    REST API.
    """
    dtypes = {
        input_name(name): graph.DTYPES[raw_type].name
        for name, raw_type in spec.request_columns.items()
    }
    columns = request_columns(spec, rows)
    examples = [{"b64": base64.b64encode(example).decode()} for example in raw_examples(spec, rows)]
    return {
        "serving_default": {
            name: {"dtype": dtypes[name], "values": values} for name, values in columns.items()
        },
        "examples": {"examples": {"dtype": "string", "values": examples}},
    }


def expressible(spec: Spec, rows: pa.Table) -> pa.Table:
    """The rows that a request can hold: a tensor has no value for a missing integer or time (a
    tf.Example leaves it out).
    """
    for name, raw_type in spec.request_columns.items():
        if raw_type in ("integer", "time"):
            rows = rows.filter(pc.is_valid(rows[name]))
    if not len(rows):
        raise FunnelError(
            "sample.parquet: every row lacks an integer or a time, so no request can be checked; "
            "declare dtype = 'string', or leave out the time feature"
        )
    return rows


def request_columns(spec: Spec, rows: pa.Table) -> dict[str, list]:
    """`request_arrays` as lists."""
    columns = {name: pa.concat_arrays(rows[name].chunks) for name in spec.request_columns}
    return {name: array.tolist() for name, array in request_arrays(spec, columns).items()}


def request_arrays(spec: Spec, columns: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Raw columns as a request of serving_default: missing texts are "", missing numbers NaN, lists
    padded with them.

    Args:
        spec: what the columns hold.
        columns: [n] each, by their names in the log; no integer and no time is missing.
    """
    return {
        input_name(name): _request_array(columns[name], raw_type)
        for name, raw_type in spec.request_columns.items()
    }


def _request_array(values: pa.Array, raw_type: str) -> np.ndarray:
    """[n], or [n, longest] for lists."""
    missing = "" if raw_type in ("text", "texts") else float("nan")
    if raw_type not in graph.LISTS:
        filled = values if raw_type in ("integer", "time") else pc.fill_null(values, missing)
        found: np.ndarray = filled.to_numpy(zero_copy_only=False)
        return found.astype(np.float32) if raw_type == "number" else found
    counts = lists.lengths(values)
    width = max(int(counts.max(initial=0)), 1)
    out = np.full((len(values), width), missing, object if missing == "" else np.float32)
    flat = pc.fill_null(values.flatten(), missing)
    lists.scatter(out, counts, flat.to_numpy(zero_copy_only=False))
    return out


def raw_examples(spec: Spec, rows: pa.Table) -> list[bytes]:
    """Raw rows as serialized tf.Examples; missing values are left out."""
    return [
        tf.train.Example(features=_raw_features(spec, row)).SerializeToString()
        for row in rows.to_pylist()
    ]


def _raw_features(spec: Spec, row: dict) -> tf.train.Features:
    features = tf.train.Features()
    for name, raw_type in spec.request_columns.items():
        if row[name] is None:
            continue
        values = row[name] if raw_type in graph.LISTS else [row[name]]
        if raw_type in ("number", "numbers"):
            features.feature[name].float_list.value.extend(
                float("nan") if v is None else v for v in values
            )
        elif raw_type in ("integer", "time"):
            features.feature[name].int64_list.value.extend(values)
        else:
            features.feature[name].bytes_list.value.extend((t or "").encode() for t in values)
    return features
