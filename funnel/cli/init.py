"""`funnel init`: writes a configuration and shows what it rests on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from features.errors import one_line
from funnel import console
from funnel.init import init, sections
from funnel.init.toml import key

DEFAULT = Path("funnel.toml")
SHOWN = 5  # names of columns on the screen; the file has all


def write_example(name: str, output: Path | None) -> dict[str, Any]:
    """Writes a shipped example. Returns where."""
    path = output or (Path(f"{name}.toml") if name != "ads" else DEFAULT)
    init.check_output(path)
    init.write(path, init.example(name))
    console.console.print(f"wrote {path}; set its paths and columns, then:", markup=False)
    console.console.print(f"  {_next(path)}", markup=False)
    return {"file": path, "next": _next(path)}


def write_config(request: init.Request, output: Path | None) -> dict[str, Any]:
    """Writes the configuration that suits the logs, and prints what was found. Returns that."""
    path = output or DEFAULT
    init.check_output(path)
    with console.progress_bar("reading", "streams") as update:
        proposed = init.propose_config(request, _command(request), update)
    init.write(path, sections.text(proposed))
    _show(proposed)
    console.console.print(f"wrote {path}, with the evidence for each line; next:", markup=False)
    console.console.print(f"  {_next(path)}", markup=False)
    return {"file": path, **_found(proposed), "next": _next(path)}


def _command(request: init.Request) -> str:
    """The command that asks for the same."""
    options = {
        "eval": request.evaluation,
        "columns": request.columns,
        "id": request.id,
        "time": request.time,
        "group": request.group,
    }
    repeated = [("label", one) for one in request.labels] + [("drop", n) for n in request.dropped]
    given = [(name, value) for name, value in options.items() if value is not None]
    flags = [part for name, value in repeated + given for part in (f"--{name}", value)]
    return shlex.join(["funnel", "init", *request.logs, *flags])


def _show(proposed: sections.Proposed) -> None:
    labels = {label.declaration.get("event"): label for label in proposed.labels}
    rows = []
    for stream in proposed.streams:
        label = labels.get(stream.name)
        own = label.name if label else ", ".join(x.name for x in proposed.labels if x.columns)
        sample = stream.sample
        rows.append(
            (stream.name, len(sample.log.sources), sample.rows, stream.id, stream.time, own or None)
        )
    console.table("Streams", ("stream", "files", "rows read", "id", "time", "labels"), rows)
    features = proposed.features
    names = [key(name) for name in features.left_out]
    left = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
    console.console.print(
        one_line(f"{len(features.lines)} features; left out: {left or 'nothing'}"), markup=False
    )
    for stream in proposed.streams:
        for note in stream.notes:
            console.console.print(one_line(f"{stream.name}: {note}"), markup=False)
    for name, why in features.suspects.items():
        console.console.print(one_line(f"{name}: {why}"), markup=False)


def _found(proposed: sections.Proposed) -> dict[str, Any]:
    """What the file rests on."""
    streams = {
        stream.name: {
            "files": len(stream.sample.log.sources),
            "rows_read": stream.sample.rows,
            "rows": stream.sample.total,
            "id": stream.id,
            "time": stream.time,
            "joined": stream.joined,
            "notes": stream.notes,
        }
        for stream in proposed.streams
    }
    return {
        "streams": streams,
        "labels": {label.name: label.declaration for label in proposed.labels},
        "features": {line.key: line.value for line in proposed.features.lines},
        "left_out": proposed.features.left_out,
        "check": proposed.features.suspects,
    }


def _next(path: Path) -> str:
    return f"funnel run {shlex.quote(str(path))}"
