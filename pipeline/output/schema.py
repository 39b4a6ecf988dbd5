"""schema.pbtxt: a layout in the terms of TensorFlow Metadata, for TFDV and its kin."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from features.spec import Spec
from pipeline.output.examples import BYTES, FLOAT, INT, Rows, example_columns

TYPES = {BYTES: schema_pb2.BYTES, FLOAT: schema_pb2.FLOAT, INT: schema_pb2.INT}


def schema_text(spec: Spec, layout: str = "packed", weighted: bool = False) -> str:
    """The content of schema.pbtxt.

    Args:
        spec: the features and labels.
        layout: a name of `features.layouts.LAYOUTS`.
        weighted: whether rows carry a weight.
    """
    no_rows = Rows(
        ids=np.zeros((0, spec.ids_width), np.int32),
        dense=np.zeros((0, spec.dense_width), np.float32),
        labels={
            name: np.zeros(0, np.float32 if label.is_number else np.int8)
            for name, label in spec.labels.items()
        },
        weights=np.zeros(0, np.float32) if weighted else None,
        row_ids=pa.array([], pa.string()),
    )
    schema = schema_pb2.Schema()
    for column in example_columns(layout, spec, no_rows):
        feature = schema.feature.add(name=column.name, type=TYPES[column.kind])
        feature.presence.min_fraction = 1.0
        if column.longest:
            feature.value_count.min, feature.value_count.max = 0, column.longest
        else:
            feature.shape.dim.extend(schema_pb2.FixedShape.Dim(size=n) for n in column.shape)
            feature.shape.SetInParent()
        if column.domain:
            feature.int_domain.min, feature.int_domain.max = column.domain
    text: str = text_format.MessageToString(schema)
    return text
