"""The signatures of a SavedModel, read without TensorFlow, which takes seconds to import.

TensorFlow's message classes cannot be imported without the rest of it, so the few fields that are
read here are declared again. Their numbers are those of saved_model.proto, meta_graph.proto and
tensor_shape.proto.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from features.errors import FunnelError

INTERNAL = "__saved_model_init_op"
# {message: {field: (number, type)}}; a list is repeated.
MESSAGES: dict[str, dict[str, tuple[int, str | list[str]]]] = {
    "SavedModel": {"meta_graphs": (2, ["MetaGraph"])},
    "MetaGraph": {"info": (1, "Info"), "signatures": (5, ["SignatureEntry"])},
    "Info": {"tensorflow_version": (5, "string")},
    "SignatureEntry": {"key": (1, "string"), "value": (2, "Signature")},
    "Signature": {"inputs": (1, ["TensorEntry"]), "outputs": (2, ["TensorEntry"])},
    "TensorEntry": {"key": (1, "string"), "value": (2, "Tensor")},
    "Tensor": {"dtype": (2, "int32"), "shape": (3, "Shape")},
    "Shape": {"dims": (2, ["Dim"]), "unknown_rank": (3, "bool")},
    "Dim": {"size": (1, "int64")},
}
DTYPES = {  # of types.proto
    1: "float32",
    2: "float64",
    3: "int32",
    7: "string",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    19: "float16",
}


def read_signatures(version: Path) -> dict[str, Any]:
    """{tensorflow: version, signatures: {name: {inputs: {name: "int64 [batch]"}, outputs}}}.

    Args:
        version: The directory of a SavedModel.

    Raises:
        FunnelError: saved_model.pb cannot be read.
    """
    path = version / "saved_model.pb"
    try:
        graphs = _saved_model().FromString(path.read_bytes()).meta_graphs
    except (DecodeError, OSError) as error:
        raise FunnelError(f"{path}: is not a SavedModel ({error}); export it again") from None
    if not graphs:
        raise FunnelError(f"{path}: holds no graph, so it is cut off; export it again")
    signatures = {
        entry.key: {
            side: {tensor.key: _tensor(tensor.value) for tensor in getattr(entry.value, side)}
            for side in ("inputs", "outputs")
        }
        for entry in sorted(graphs[0].signatures, key=lambda entry: entry.key)
        if entry.key != INTERNAL
    }
    for signature in signatures.values():
        for side in ("inputs", "outputs"):
            signature[side] = dict(sorted(signature[side].items()))
    return {"tensorflow": graphs[0].info.tensorflow_version, "signatures": signatures}


def _tensor(tensor: Any) -> str:
    dtype = DTYPES.get(tensor.dtype, f"dtype {tensor.dtype}")
    if tensor.shape.unknown_rank:
        return f"{dtype} of any shape"
    sizes = ["any" if dim.size < 0 else str(dim.size) for dim in tensor.shape.dims]
    if sizes and sizes[0] == "any":
        sizes[0] = "batch"
    return f"{dtype} [{', '.join(sizes)}]"


@functools.cache
def _saved_model() -> Any:
    """The message class of MESSAGES' SavedModel."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="signatures.proto", package="funnel")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for label, (number, type_) in fields.items():
            repeated = isinstance(type_, list)
            one = type_[0] if isinstance(type_, list) else type_
            added = message.field.add(
                name=label,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
            if one in MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".funnel.{one}"
            else:
                added.type = field.Type.Value(f"TYPE_{one.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("funnel.SavedModel"))
