"""Checks in the written graph that loaders fill what the signatures of a SavedModel read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from features.errors import FunnelError

# Operations that fill the variable or table which their first input names.
FILL = {
    "AssignVariableOp",
    "InitializeTableV2",
    "InitializeTableFromTextFileV2",
    "LookupTableImportV2",
}
INIT = "__saved_model_init_op"

Nodes = Mapping[str, NodeDef]


def check_graph(path: Path) -> None:
    """Checks the variables and tables of a SavedModel.

    One that a signature reads and nothing fills has no value in a server. One that is restored and
    not read is a copy of another, or wastes memory.

    Raises:
        FunnelError: a signature reads a variable or table that neither the restore op nor the init
            op fills, or one is restored that no signature reads.
    """
    content = _meta_graph(path / "saved_model.pb")
    graph, signatures = content.graph_def, dict(content.signature_def)
    init = [tensor.name for tensor in signatures.pop(INIT).outputs.values()]
    read = _made(graph, [tensor.name for s in signatures.values() for tensor in s.outputs.values()])
    restored = set(_filled(graph, [content.saver_def.restore_op_name]))
    if unfilled := sorted(read - restored - set(_filled(graph, init))):
        raise FunnelError(
            f"{path}: signatures read {', '.join(unfilled)}, which neither the restore op nor "
            "the init op fills, so a server could not run them; let the saved root track the "
            "raw tf.Variable"
        )
    if unread := sorted(restored - read):
        raise FunnelError(
            f"{path}: {', '.join(unread)} is restored, but no signature reads it; let the saved "
            "root not track it"
        )


def _meta_graph(path: Path) -> MetaGraphDef:
    try:
        return SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    except (DecodeError, IndexError) as error:
        raise FunnelError(
            f"{path}: is not a SavedModel ({error}), so it is not published"
        ) from None


def _source(tensor: str) -> str:
    """The node or argument that makes a node's input, as "dense/kernel:0" or "^NoOp"."""
    return tensor.removeprefix("^").split(":")[0]


def _below(nodes: Nodes, ends: Iterable[str]) -> list[NodeDef]:
    """The nodes that the ends depend on, themselves included."""
    found: dict[str, NodeDef] = {}
    left = [_source(end) for end in ends]
    while left:
        name = left.pop()
        if name in nodes and name not in found:
            found[name] = nodes[name]
            left += map(_source, nodes[name].input)
    return list(found.values())


def _functions(graph: GraphDef) -> dict[str, Nodes]:
    """The nodes of each function's body by their names."""
    return {f.signature.name: _named(f.node_def) for f in graph.library.function}


def _named(nodes: Iterable[NodeDef]) -> Nodes:
    return {node.name: node for node in nodes}


def _called(node: NodeDef) -> Iterator[str]:
    """The functions that a node calls."""
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name


def _resource(node: NodeDef) -> str | None:
    """The shared name of the variable or table that a node makes a handle of."""
    return (
        (node.attr["shared_name"].s.decode() or node.name) if "shared_name" in node.attr else None
    )


def _made(graph: GraphDef, ends: Iterable[str]) -> set[str]:
    """The variables and tables whose handles the ends depend on, also in functions."""
    functions = _functions(graph)
    found: set[str] = set()
    entered: set[str] = set()
    left = _below(_named(graph.node), ends)
    while left:
        node = left.pop()
        if (resource := _resource(node)) is not None:
            found.add(resource)
        for name in set(_called(node)) - entered:
            entered.add(name)
            left += functions[name].values()
    return found


def _filled(graph: GraphDef, ends: Iterable[str]) -> Iterator[str]:
    """The variables and tables that operations below the ends fill, also in functions."""
    functions, top = _functions(graph), _named(graph.node)
    arguments = {
        f.signature.name: [a.name for a in f.signature.input_arg] for f in graph.library.function
    }
    left: list[tuple[Nodes, Iterable[NodeDef], Mapping[str, str | None]]] = [
        (top, _below(top, ends), {})
    ]
    while left:
        nodes, reached, given = left.pop()
        for node in reached:
            handles = [
                _handle(nodes, given, tensor) for tensor in node.input if not tensor.startswith("^")
            ]
            if node.op in FILL and handles[0]:
                yield handles[0]
            for name in _called(node):
                # A call has an input for each argument; a condition has one more before them.
                own = dict(zip(reversed(arguments[name]), reversed(handles), strict=False))
                left.append((functions[name], functions[name].values(), own))


def _handle(nodes: Nodes, given: Mapping[str, str | None], tensor: str) -> str | None:
    """The variable or table whose handle a tensor is; None for any other tensor."""
    name = _source(tensor)
    while name in nodes and nodes[name].op == "Identity":
        name = _source(nodes[name].input[0])
    return _resource(nodes[name]) if name in nodes else given.get(name)
