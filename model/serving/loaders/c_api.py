"""A SavedModel through TensorFlow's C API: the loader and the runner that TF Serving is built on.

The library inside the installed wheel is called by ctypes, so no compiler is needed. The functions
are those of tensorflow/c/c_api.h and tf_tstring.h.
"""

from __future__ import annotations

import ctypes
import glob
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

STRING = 7  # TF_DataType
NUMBERS = {1: np.float32, 3: np.int32, 9: np.int64}
TSTRING = 24  # bytes of a TF_TString


class Absent(Exception):
    """This build of TensorFlow has no C library to call."""


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


_Pointer, _Int, _Size, _Text = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_Outputs, _Pointers = ctypes.POINTER(_Output), ctypes.POINTER(_Pointer)
_Feeds, _Fetches, _Targets = [[kind, _Pointers, _Int] for kind in (_Outputs, _Outputs, _Pointers)]
_PROTOTYPES = {  # (what it returns, its arguments)
    "TF_NewStatus": (_Pointer, []),
    "TF_DeleteStatus": (None, [_Pointer]),
    "TF_GetCode": (_Int, [_Pointer]),
    "TF_Message": (_Text, [_Pointer]),
    "TF_NewGraph": (_Pointer, []),
    "TF_DeleteGraph": (None, [_Pointer]),
    "TF_NewSessionOptions": (_Pointer, []),
    "TF_DeleteSessionOptions": (None, [_Pointer]),
    "TF_NewBuffer": (ctypes.POINTER(_Buffer), []),
    "TF_DeleteBuffer": (None, [ctypes.POINTER(_Buffer)]),
    "TF_LoadSessionFromSavedModel": (
        _Pointer,
        [
            _Pointer,
            _Pointer,
            _Text,
            ctypes.POINTER(_Text),
            _Int,
            _Pointer,
            ctypes.POINTER(_Buffer),
            _Pointer,
        ],
    ),
    "TF_CloseSession": (None, [_Pointer, _Pointer]),
    "TF_DeleteSession": (None, [_Pointer, _Pointer]),
    "TF_GraphOperationByName": (_Pointer, [_Pointer, _Text]),
    "TF_SessionRun": (
        None,
        [_Pointer, _Pointer, *_Feeds, *_Fetches, _Pointers, _Int, _Pointer, _Pointer],
    ),
    "TF_AllocateTensor": (_Pointer, [_Int, ctypes.POINTER(ctypes.c_int64), _Int, _Size]),
    "TF_DeleteTensor": (None, [_Pointer]),
    "TF_TensorType": (_Int, [_Pointer]),
    "TF_NumDims": (_Int, [_Pointer]),
    "TF_Dim": (ctypes.c_int64, [_Pointer, _Int]),
    "TF_TensorData": (_Pointer, [_Pointer]),
    "TF_TensorByteSize": (_Size, [_Pointer]),
    "TF_StringInit": (None, [_Pointer]),
    "TF_StringCopy": (None, [_Pointer, _Text, _Size]),
    "TF_StringDealloc": (None, [_Pointer]),
}


def library() -> ctypes.CDLL:
    """The C library of the installed TensorFlow. Raises Absent where the build has none."""
    import tensorflow as tf

    folder = os.path.dirname(tf.__file__)
    found = sorted(glob.glob(os.path.join(folder, "libtensorflow_cc.*")))
    if not found:
        raise Absent(f"{folder} holds no libtensorflow_cc")
    api = ctypes.CDLL(found[0])
    for name, (returned, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(api, name)
        except AttributeError:
            raise Absent(f"{found[0]} has no function {name}") from None
        function.restype, function.argtypes = returned, arguments
    return api


class Model:
    """A SavedModel in a session of its own; `signatures` {name: SignatureDef} as it was loaded.

    Raises Absent, or RuntimeError with TensorFlow's own message.
    """

    def __init__(self, path: str) -> None:
        from tensorflow.core.protobuf import meta_graph_pb2

        self._api = api = library()
        self._status, self._graph = api.TF_NewStatus(), api.TF_NewGraph()
        options, written = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        tags = (_Text * 1)(b"serve")
        self._session = api.TF_LoadSessionFromSavedModel(
            options, None, os.fsencode(path), tags, 1, self._graph, written, self._status
        )
        content = ctypes.string_at(written.contents.data, written.contents.length)
        api.TF_DeleteBuffer(written)
        api.TF_DeleteSessionOptions(options)
        self._check()
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(content).signature_def)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A request's answer by name. Texts are arrays of dtype object that hold bytes.

        Raises RuntimeError: inputs other than the signature's, or what TensorFlow says.
        """
        declared = self.signatures[signature]
        if set(declared.inputs) != set(inputs):
            raise RuntimeError(
                f"{signature} takes {sorted(declared.inputs)}, the request has {sorted(inputs)}"
            )
        feeds = [self._output(declared.inputs[name].name) for name in inputs]
        fetches = [self._output(tensor.name) for tensor in declared.outputs.values()]
        given = (_Pointer * len(feeds))(*map(self._tensor, inputs.values()))
        found = (_Pointer * len(fetches))()
        api = self._api
        try:
            api.TF_SessionRun(
                *(self._session, None),
                *((_Output * len(feeds))(*feeds), given, len(feeds)),
                *((_Output * len(fetches))(*fetches), found, len(fetches)),
                *(None, 0, None, self._status),
            )
            self._check()
            return dict(zip(declared.outputs, map(self._array, found), strict=True))
        finally:
            for tensor, values in zip(given, inputs.values(), strict=True):
                self._free(tensor, values)
            for tensor in filter(None, found):
                api.TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Frees the session and its variables."""
        api = self._api
        api.TF_CloseSession(self._session, self._status)
        api.TF_DeleteSession(self._session, self._status)
        api.TF_DeleteGraph(self._graph)
        api.TF_DeleteStatus(self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._api.TF_GetCode(self._status):
            raise RuntimeError(self._api.TF_Message(self._status).decode(errors="replace"))

    def _output(self, tensor: str) -> _Output:
        """A tensor of the graph by its name, as "serving_default_user:0"."""
        operation, _, index = tensor.partition(":")
        return _Output(
            self._api.TF_GraphOperationByName(self._graph, operation.encode()), int(index)
        )

    def _tensor(self, values: np.ndarray) -> Any:
        """A TF_Tensor with a copy of the values."""
        api, shape = self._api, (ctypes.c_int64 * values.ndim)(*values.shape)
        if values.dtype != object:
            kind = next(kind for kind, dtype in NUMBERS.items() if dtype == values.dtype)
            tensor = api.TF_AllocateTensor(kind, shape, values.ndim, values.nbytes)
            ctypes.memmove(api.TF_TensorData(tensor), values.tobytes(), values.nbytes)
            return tensor
        tensor = api.TF_AllocateTensor(STRING, shape, values.ndim, TSTRING * values.size)
        for text, place in zip(values.flat, self._places(tensor, values), strict=True):
            api.TF_StringInit(place)
            api.TF_StringCopy(place, text, len(text))
        return tensor

    def _places(self, tensor: Any, values: np.ndarray) -> range:
        """Where each text of a tensor lies."""
        start = self._api.TF_TensorData(tensor) or 0
        return range(start, start + TSTRING * values.size, TSTRING)

    def _free(self, tensor: Any, values: np.ndarray) -> None:
        if values.dtype == object:
            for place in self._places(tensor, values):
                self._api.TF_StringDealloc(place)
        self._api.TF_DeleteTensor(tensor)

    def _array(self, tensor: Any) -> np.ndarray:
        """A copy of a TF_Tensor of numbers."""
        api = self._api
        shape = [api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))]
        content = ctypes.string_at(api.TF_TensorData(tensor), api.TF_TensorByteSize(tensor))
        return np.frombuffer(content, NUMBERS[api.TF_TensorType(tensor)]).reshape(shape)
