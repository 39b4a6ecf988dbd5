"""Results of the partitions → statistics.json, fitted.json, manifest.json and the other files,
after checking that every row is accounted for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import FunnelError
from features.files import write_text
from features.manifest import VERSION, checksum
from pipeline.config import PreprocessConfig
from pipeline.labeling.split import Calendar
from pipeline.output.reject_limit import too_many
from pipeline.output.require import check_required
from pipeline.output.results import PartitionResult
from pipeline.output.schema import schema_text
from pipeline.output.warnings import all_warnings
from pipeline.sources.storage import Source
from pipeline.statistics.fit import fit
from pipeline.statistics.partitions import fold
from pipeline.statistics.profiles import profiles_json
from pipeline.statistics.statistics_json import statistics_json
from pipeline.statistics.streams import StreamCounts, stream_json

# The files beside the shards that readers need; their checksums are in the manifest.
FILES = ("spec.json", "fitted.json", "schema.pbtxt", "statistics.json", "sample.parquet")


def describe(
    config: PreprocessConfig,
    sources: Sequence[Source],
    vocabularies: Mapping[str, list[str]],
    totals: dict[str, StreamCounts],
    sample: pa.Table | None,
    calendar: Calendar,
    results: list[PartitionResult],
    out: Path,
) -> dict[str, Any]:
    """Checks the job's results and writes all files but the shards, the manifest last.

    Args:
        config: the configuration.
        sources: the files that were read.
        vocabularies: the values of vocabulary files, by feature.
        totals: the counts of each stream.
        sample: raw rows, for checking an export.
        calendar: the times that decided the split.
        results: of all partitions, in any order.
        out: the directory.

    Returns:
        The manifest.

    Raises:
        FunnelError: too many rejects, an empty split, or a warning that output.require excludes.
        RuntimeError: the counts of rows do not reconcile.
    """
    spec, results = config.spec, sorted(results, key=lambda result: result.number)
    manifest = _manifest(config, sources, totals, calendar, results)
    _check_rejects(config, totals)
    _check_splits(manifest)
    whole = fold([result.statistics for result in results])
    profiles = profiles_json(spec, totals[config.rows].profiles)
    described = statistics_json(spec, whole, profiles)
    _check_reconciled(config, manifest, described)
    fitted = fit(spec, whole, vocabularies)
    found = list(
        all_warnings(config, totals, results, manifest["events"], described, fitted, whole.sample)
    )
    check_required(config.output.require, found)
    manifest["warnings"] = [one.line for one in found]
    manifest["warning_kinds"] = [list(one.kinds) for one in found]
    write_json(out / "statistics.json", described)
    fitted.save(out / "fitted.json")
    spec.save(out / "spec.json")
    schema = schema_text(spec, config.output.layout, weighted=manifest["weighted"])
    write_text(out / "schema.pbtxt", schema)
    parquet = pa.BufferOutputStream()
    pq.write_table(sample, parquet)  # in memory: of a full disk Arrow says "error closing file"
    (out / "sample.parquet").write_bytes(parquet.getvalue())
    manifest["files"] = {name: checksum(out / name) for name in FILES}
    write_json(out / "manifest.json", manifest)
    return manifest


def _manifest(
    config: PreprocessConfig,
    sources: Sequence[Source],
    totals: dict[str, StreamCounts],
    calendar: Calendar,
    results: list[PartitionResult],
) -> dict[str, Any]:
    counts = _sum([result.counts for result in results])
    shards = {split: [result.shards[split] for result in results] for split in ("train", "eval")}
    files = Counter(s.stream for s in sources)
    rows = totals[config.rows]
    return {
        "version": VERSION,
        "layout": config.output.layout,
        "compression": config.output.compression,
        "weighted": config.sampling.negatives < 1,
        "fingerprint": config.spec.fingerprint,
        "dates": config.dates.model_dump() if config.dates else None,
        "rows": {
            "impressions_read": rows.rows_read,
            "examples_written": sum(s["rows"] for split in shards.values() for s in split),
            "rejected": sum(rows.rejected.values()) + counts["duplicates"],
            "duplicates": counts["duplicates"],
            "dropped_immature": counts["dropped_immature"],
            "sampled_out": counts["sampled_out"],
        },
        "inputs": {
            stream: {"files": files[stream], **stream_json(totals[stream])}
            for stream in config.logs
        },
        "events": counts["events"],
        "calendar": {
            "logs_end": _iso(calendar.logs_end),
            "mature_until": _iso(calendar.mature_until),
            "eval_from": _iso(calendar.eval_from),
        },
        "shards": shards,
    }


def _sum(counts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds dictionaries of counts, nested alike."""
    first = counts[0]
    return {
        key: _sum([c[key] for c in counts])
        if isinstance(value, Mapping)
        else sum(c[key] for c in counts)
        for key, value in first.items()
    }


def _iso(time: int | None) -> str | None:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat() if time else None


def _check_rejects(config: PreprocessConfig, totals: dict[str, StreamCounts]) -> None:
    for name in config.logs:
        total = totals[name]
        if sum(total.rejected.values()) > config.output.max_rejects * total.rows_read:
            raise too_many(config, name, total.rejected, total.rows_read)


def _check_splits(manifest: dict[str, Any]) -> None:
    for split, shards in manifest["shards"].items():
        if not sum(s["rows"] for s in shards):
            rows, calendar = manifest["rows"], manifest["calendar"]
            sampled = f"{rows['sampled_out']} sampled out, " if rows["sampled_out"] else ""
            raise FunnelError(
                f"the {split} split is empty: {rows['impressions_read']} rows read, "
                f"{rows['rejected']} rejected, {sampled}{rows['dropped_immature']} immature (logs "
                f"end {calendar['logs_end']}, mature until {calendar['mature_until']}, evaluation "
                f"from {calendar['eval_from']}); choose another split.eval or shorter windows"
            )


def _check_reconciled(
    config: PreprocessConfig, manifest: dict[str, Any], described: dict[str, Any]
) -> None:
    """Row counts must reconcile. A mismatch is a bug, hence RuntimeError."""
    rows = manifest["rows"]
    accounted = (
        rows["examples_written"] + rows["rejected"] + rows["dropped_immature"] + rows["sampled_out"]
    )
    if rows["impressions_read"] != accounted:
        raise RuntimeError(
            f"{rows['impressions_read']} impressions were read but {accounted} are accounted for: "
            f"{rows}"
        )
    written = {
        split: sum(s["rows"] for s in shards) for split, shards in manifest["shards"].items()
    }
    by_day = sum(day["rows"] for day in described["days"].values())
    if written != described["rows"] or by_day not in (0, rows["examples_written"]):
        raise RuntimeError(
            f"{written} examples were written, but statistics count {described['rows']}, "
            f"by day {by_day}"
        )
    for label, declared in config.event_labels.items():
        events, stream = sum(manifest["events"][label].values()), manifest["inputs"][declared.event]
        if events != stream["rows_read"] - sum(stream["rejected"].values()):
            raise RuntimeError(
                f"label {label} accounts for {events} events of {declared.event}: {stream}"
            )


def write_json(path: Path, content: object) -> None:
    """Writes indented JSON."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
