"""Raw rows as requests: a tensor for each column, or a serialized tf.Example for each row."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from features import graph
from features.declarations import input_name
from features.errors import FunnelError
from features.spec import Spec

Inputs = dict[str, dict[str, dict[str, Any]]]  # {signature: {input: {"dtype", "values"}}}


def requests(spec: Spec, rows: pa.Table) -> Inputs:
    """The rows as inputs of every signature, ready for JSON: bytes are {"b64": text}, as in TF
    Serving's REST API.
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
    """The rows that a request can hold: a missing integer or time has no value in a tensor (a
    tf.Example leaves it out).
    """
    for name, raw_type in spec.request_columns.items():
        if raw_type in ("integer", "time"):
            rows = rows.filter(pc.is_valid(rows[name]))
    if not len(rows):
        raise FunnelError(
            "sample.parquet: every row lacks an integer or a time, so no request can be checked; declare dtype = 'string', "
            "or leave out the time feature"
        )
    return rows


def request_columns(spec: Spec, rows: pa.Table) -> dict[str, list]:
    """Raw rows as a request of serving_default: missing texts are "", missing numbers NaN, lists
    padded with them.
    """
    columns = {}
    for name, raw_type in spec.request_columns.items():
        values = rows[name].to_pylist()
        nothing = "" if raw_type in ("text", "texts") else float("nan")
        if raw_type in graph.LISTS:
            longest = max([len(v) for v in values if v] + [1])
            values = [
                [nothing if one is None else one for one in v or []]
                + [nothing] * (longest - len(v or []))
                for v in values
            ]
        columns[input_name(name)] = [nothing if v is None else v for v in values]
    return columns


def raw_examples(spec: Spec, rows: pa.Table) -> list[bytes]:
    """Raw rows as serialised tf.Examples; what is missing is left out."""
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
