"""The first rows of TFRecords: by feature name where spec.json is near, else the raw columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.errors import FunnelError
from features.layouts import LAYOUTS, array_keys, row_keys
from features.manifest import read_manifest
from features.spec import Spec
from funnel.inspection.kinds import is_tfrecord
from funnel.reports.examples import by_name, decode, read_rows
from funnel.reports.tfrecords import first_records

RAW_TYPES = {pa.int64(): "int64", pa.float32(): "float", pa.large_binary(): "bytes"}


def describe_records(path: Path, count: int) -> dict[str, Any]:
    """{file, bytes, rows: of the whole file, if its manifest says, spec, columns, first_rows}.

    Args:
        path: A TFRecord file, or a directory of them, whose first file is read.
        count: How many rows to read.

    Raises:
        FunnelError: The file is damaged, or its rows are not those of the spec.json near it.
    """
    file = _first(path)
    head: dict[str, Any] = {"file": str(file), "bytes": file.stat().st_size}
    data = next((f for f in (file.parent, *file.parents[1:2]) if (f / "spec.json").exists()), None)
    if data is None:
        return head | {"rows": None, "spec": None} | _raw(file, count)
    spec = Spec.load(data / "spec.json")
    manifest = _manifest(data, file, spec, count)
    return (
        head
        | {"rows": _rows_listed(data, file, manifest), "spec": str(data / "spec.json")}
        | named(
            spec, next((by_name(spec, rows) for rows in read_rows(file, spec, manifest, count)), [])
        )
    )


def named(spec: Spec, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{columns: [{name, type}], first_rows} of rows by feature name."""
    types = {"id": "id"} | dict.fromkeys(spec.labels, "label") | {"weight": "weight"}
    types |= {name: feature.kind_name for name, feature in spec.features.items()}
    names = rows[0] if rows else (name for name in types if name != "weight")
    return {
        "columns": [{"name": name, "type": types[name]} for name in names],
        "first_rows": rows,
    }


def _first(path: Path) -> Path:
    if path.is_file():
        return path
    return min(file for file in path.iterdir() if is_tfrecord(file))


def _raw(file: Path, count: int) -> dict[str, Any]:
    """The keys of the tf.Examples with the lists that they hold; bytes that are texts as texts."""
    records = first_records(file, count)
    if not records:
        return {"columns": [], "first_rows": []}
    batch = decode(records, file)
    columns = [{"name": field.name, "type": _raw_type(field.type)} for field in batch.schema]
    rows = [{name: _texts(values) for name, values in row.items()} for row in batch.to_pylist()]
    return {"columns": columns, "first_rows": rows}


def _raw_type(type_: pa.DataType) -> str:
    """The list of a tf.Feature; 'empty' where no example has a value."""
    return RAW_TYPES.get(type_.value_type, str(type_.value_type)) if _is_list(type_) else "empty"


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_large_list(type_) or pa.types.is_list(type_))


def _texts(values: list[Any] | None) -> list[Any] | None:
    if values is None:
        return None
    return [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in values]


def _manifest(data: Path, file: Path, spec: Spec, count: int) -> Mapping[str, Any]:
    """The manifest beside spec.json; without one, the layout whose keys the first examples have."""
    if (data / "manifest.json").exists():
        return read_manifest(data)
    batch = decode(first_records(file, count), file)
    present = set(batch.schema.names)
    for layout in LAYOUTS:
        weighted = "weight" in present
        keys = {key.key for key in array_keys(layout, spec)}
        if not present or present == keys | row_keys(spec, weighted=weighted).keys():
            return {"layout": layout, "weighted": weighted}
    raise FunnelError(
        f"{file}: has the keys {', '.join(sorted(present))}, which are those of no layout of "
        f"{data / 'spec.json'}; put back the file's own spec.json, or move it away to see the raw "
        "columns"
    )


def _rows_listed(data: Path, file: Path, manifest: Mapping[str, Any]) -> int | None:
    """The rows of a file, if the manifest lists it."""
    name = file.relative_to(data).as_posix()
    shards = [shard for split in manifest.get("shards", {}).values() for shard in split]
    return next((shard["rows"] for shard in shards if shard["file"] == name), None)
