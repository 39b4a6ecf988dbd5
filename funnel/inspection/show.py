"""Documents as tables in 80 columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

from features.errors import one_line
from funnel.console import console, literal
from funnel.inspection.data_tables import data_facts, data_tables, several, warn
from funnel.inspection.kinds import TITLES
from funnel.inspection.tables import facts, grid, rows_table
from funnel.reports import run_tables

Document = dict[str, Any]
EXAMPLES = "Training examples: ids and raw numbers by feature (– is unknown or missing)"
LISTED = 60  # files of a check


def show(document: Document) -> None:
    """Prints a document of `funnel.inspection.inspect`."""
    _heading(document["path"], TITLES[document["kind"]])
    if document["kind"] in ("run", "data") and "first_rows" in document:
        rows_table(EXAMPLES, document["columns"], document["first_rows"])
    else:
        SHOW[document["kind"]](document)


def _heading(name: str, what: str) -> None:
    console.print(Text.assemble((one_line(name), "bold"), f": {what}"))


def show_run(run: Document) -> None:
    """Facts about every stage, then the tables of the data and of the evaluation."""
    configuration = run["configuration"] or {}
    facts(
        [
            ("configuration", _written(configuration)),
            ("sha256", configuration.get("sha256")),
            ("logs", "; ".join(f"{n} {f}" for n, f in configuration.get("logs", {}).items())),
            ("trained on", configuration.get("data")),
            ("funnel", run["funnel"]),
            ("stages", _stages(run["stages"])),
            *(data_facts(run["data"]) if run["data"] else []),
            *(_model_facts(run["model"]) if run["model"] else []),
            *(("export", _version_line(version)) for version in run["exports"]),
        ]
    )
    if run["exports"]:
        _signatures(run["exports"][-1])
    if run["data"]:
        data_tables(run["data"])
    for warning in run["warnings"]:
        warn(warning)
    run_tables.show_evaluation(run["evaluation"])


def show_data(data: Document) -> None:
    """Facts, then how every row is accounted for, features, the schema and statistics."""
    facts(data_facts(data))
    data_tables(data)


def show_model(model: Document) -> None:
    """What was trained, and the checkpoints."""
    facts(_model_facts(model))
    show_checkpoints(model)


def show_checkpoints(document: Document) -> None:
    """The checkpoints of a folder."""
    rows = [[one["step"], one["written"], one["bytes"]] for one in document["checkpoints"]]
    grid("Checkpoints", ["step", "written (UTC)", "bytes"], rows)


def show_export(export: Document) -> None:
    """Each version, and the signatures and evaluation of the latest."""
    best = export["best"]
    chosen = best and f"{best['metric']} = {best['value']:.4f} at step {best['step']}"
    facts([("best", chosen), *(("version", _version_line(one)) for one in export["exports"])])
    if export["exports"]:
        _show_latest(export["exports"][-1])


def show_version(version: Document) -> None:
    """How one version was checked and evaluated, and its signatures."""
    facts([("version", _version_line(version))])
    _show_latest(version)


def _show_latest(version: Document) -> None:
    _signatures(version)
    for line in version["warnings"]:
        warn(line)
    run_tables.show_evaluation(version["evaluation"] or {})


def show_simulation(simulation: Document) -> None:
    """What was simulated, and the first rows of each stream."""
    facts([("written", simulation["written"])])
    counts = simulation["counts"]
    kinds = list(dict.fromkeys(kind for one in counts.values() for kind in one))
    rows = [[kind.replace("_", " "), *(one.get(kind) for one in counts.values())] for kind in kinds]
    grid("Counts", ["", *counts], rows)
    show_logs(simulation)


def show_logs(logs: Document) -> None:
    """The files of each stream, and its first rows."""
    for stream in logs["streams"]:
        counted = "" if stream["rows"] is None else f", {stream['rows']:,} rows"
        zipped = "" if stream["compression"] == "none" else f", {stream['compression']}"
        files = several(stream["files"], "file")
        size = f"{stream['format']}{zipped}, {files}, {stream['bytes']:,} bytes{counted}"
        console.print()
        _heading(stream["name"], size)
        for note in stream["notes"]:
            console.print(Text("note:", "yellow"), literal(one_line(note)))
        if stream["columns"]:
            rows_table(stream["first_file"], stream["columns"], stream["first_rows"])


def show_records(document: Document) -> None:
    """The first rows of a TFRecord."""
    facts(
        [
            ("file", document["file"]),
            ("bytes", f"{document['bytes']:,}"),
            ("rows", None if document["rows"] is None else f"{document['rows']:,}"),
            (
                "spec",
                document["spec"] or "none near the file: these are the keys of the tf.Examples",
            ),
        ]
    )
    rows_table("First rows", document["columns"], document["first_rows"])


def show_experiment(experiment: Document) -> None:
    """The seeds of each setting, and the means of its metrics."""
    facts([("written", experiment["written"])])
    summary = experiment["summary"]
    rows = [
        [setting, len(seeds), _metrics(summary.get(setting, {}))]
        for setting, seeds in experiment["seeds"].items()
    ]
    grid("Settings", ["setting", "seeds", "means"], rows)


def show_check(document: Document) -> None:
    """The checked files; of very many those that are not ok, and the number of the rest."""
    files = document["files"]
    listed = files if len(files) <= LISTED else [f for f in files if f["status"] != "ok"]
    inside = document["path"].rstrip("/") + "/"
    rows = [[f["file"].removeprefix(inside), f["bytes"], f["status"], f["detail"]] for f in listed]
    grid(f"Checksums of {document['path']}", ["file", "bytes", "status", "compared"], rows)
    ok = sum(f["status"] == "ok" for f in files)
    console.print(f"{ok:,} of {len(files):,} files are as they were written")
    if any(f["status"] == "unrecorded" for f in files):
        console.print("unrecorded: the version of funnel that wrote the file recorded no checksum")


def _metrics(by_name: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{name} {values['mean']:.4g}" for name, values in by_name.items())


def _model_facts(model: Document) -> list[tuple[str, Any]]:
    parts = ", ".join(f"{part} {name}" for part, name in model["architecture"].items() if name)
    training = ", ".join(f"{key} {value}" for key, value in model["training"].items() if value)
    steps = [f"{one['step']:,}" for one in model["checkpoints"]]
    latest = model["checkpoints"][-1]["written"] if steps else None
    return [
        ("model", parts),
        ("training", training),
        (
            "checkpoints",
            f"at step {', '.join(steps)}; the last written {latest}" if steps else "none",
        ),
    ]


def _version_line(version: Document) -> str:
    line = f"{version['path']}, written {version['written']}, {version['bytes']:,} bytes"
    if version["compared_rows"]:
        line += f"; {version['compared_rows']} rows equal to the checkpoint within "
        line += f"{version['max_abs_difference']:.0e}"
    return line


def _signatures(version: Document) -> None:
    rows = [
        [name if number + place == 0 else "", side, tensor, type_]
        for name, signature in version["signatures"].items()
        for number, (side, tensors) in enumerate(signature.items())
        for place, (tensor, type_) in enumerate(tensors.items())
    ]
    grid(f"Signatures of {version['path']}", ["signature", "", "tensor", "type"], rows)


def _stages(stages: Document) -> str:
    def line(name: str, stage: Document) -> str:
        seconds = "" if stage["seconds"] is None else f" {stage['seconds']:.1f} s"
        return f"{name}{seconds}" + ("" if stage["done"] else " (not finished)")

    return ", ".join(line(name, stage) for name, stage in stages.items())


def _written(file: Document) -> str | None:
    return f"{file['path']}, written {file['written']}" if file else None


SHOW: dict[str, Callable[[Document], None]] = {
    "run": show_run,
    "data": show_data,
    "model": show_model,
    "checkpoints": show_checkpoints,
    "export": show_export,
    "version": show_version,
    "simulation": show_simulation,
    "experiment": show_experiment,
    "tfrecord": show_records,
    "tfrecords": show_records,
    "log": show_logs,
}
