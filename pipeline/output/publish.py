"""Partials → statistics.json, fitted.json, manifest.json and the rest, after checking that every
row is accounted for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import FunnelError
from features.fitted import Fitted
from features.manifest import VERSION
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.labeling.split import Calendar
from pipeline.output.examples import schema_text, write_json
from pipeline.partition import Partial
from pipeline.sources.files import Source
from pipeline.statistics import collisions, relevance
from pipeline.statistics import partitions as statistics
from pipeline.statistics.fit import fit
from pipeline.statistics.streams import Tally, profiles_json, tally_json


def describe(
    config: PreprocessConfig,
    sources: list[Source],
    totals: dict[str, Tally],
    sample: pa.Table | None,
    calendar: Calendar,
    partials: list[Partial],
    out: Path,
) -> dict:
    """Checks the job's result and writes all its files but the shards, the manifest last. Returns
    the manifest.

    Raises FunnelError for too many rejects or an empty split.
    """
    spec, partials = config.spec, sorted(partials, key=lambda p: p.number)
    manifest = _manifest(config, sources, totals, calendar, partials)
    _check_rejects(config, totals)
    _check_splits(manifest)
    whole = statistics.fold(spec, [p.statistics for p in partials])
    described = statistics.statistics_json(spec, whole, profiles_json(spec, totals[config.rows]))
    _check_reconciled(config, manifest, described)
    fitted = fit(spec, whole)
    manifest["warnings"] = warnings(spec, described, fitted)
    write_json(out / "statistics.json", described)
    fitted.save(out / "fitted.json")
    spec.save(out / "spec.json")
    (out / "schema.pbtxt").write_text(
        schema_text(spec, config.output.layout, weighted=manifest["weighted"])
    )
    pq.write_table(sample, out / "sample.parquet")
    write_json(out / "manifest.json", manifest)
    return manifest


def _manifest(
    config: PreprocessConfig,
    sources: list[Source],
    totals: dict[str, Tally],
    calendar: Calendar,
    partials: list[Partial],
) -> dict:
    counts = _sum([p.counts for p in partials])
    shards = {split: [p.shards[split] for p in partials] for split in ("train", "eval")}
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
            stream: {"files": files[stream], **tally_json(totals[stream])} for stream in config.logs
        },
        "events": counts["events"],
        "calendar": {
            "logs_end": _iso(calendar.logs_end),
            "mature_until": _iso(calendar.mature_until),
            "eval_from": _iso(calendar.eval_from),
        },
        "shards": shards,
    }


def _sum(counts: list[Mapping]) -> dict:
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


def warnings(spec: Spec, described: dict, fitted: Fitted) -> list[str]:
    """What does not stop the job but should be looked at before training: leaked labels, empty
    vocabularies, frequent values that share a bucket.
    """
    empty = [
        f"features.{name}.min_count = {spec.features[name].min_count}: no value of the training split is seen so often, so all share "
        f"one row; lower it, or give buckets"
        for name, ids in fitted.vocabularies.items()
        if not ids
    ]
    shared = list(collisions.warnings(spec, described["features"]))
    return relevance.suspects(described["relevance"], described["labels"]["train"]) + empty + shared


def _check_rejects(config: PreprocessConfig, totals: dict[str, Tally]) -> None:
    for name in config.logs:
        total = totals[name]
        rejected = sum(total.rejected.values())
        if rejected > config.output.max_rejects * total.rows_read:
            leading = ", ".join(
                f"{reason}: {count}" for reason, count in Counter(total.rejected).most_common(3)
            )
            raise FunnelError(
                f"logs.{name}: {rejected} of {total.rows_read} rows cannot be used, more than output.max_rejects = "
                f"{config.output.max_rejects} allows ({leading}); mend the log or the declaration, or allow more"
            )


def _check_splits(manifest: dict) -> None:
    for split, shards in manifest["shards"].items():
        if not sum(s["rows"] for s in shards):
            rows, calendar = manifest["rows"], manifest["calendar"]
            sampled = f"{rows['sampled_out']} sampled out, " if rows["sampled_out"] else ""
            raise FunnelError(
                f"the {split} split is empty: {rows['impressions_read']} rows read, {rows['rejected']} rejected, {sampled}"
                f"{rows['dropped_immature']} immature (logs end {calendar['logs_end']}, mature until {calendar['mature_until']}, "
                f"evaluation from {calendar['eval_from']}); choose another split.eval or shorter windows"
            )


def _check_reconciled(config: PreprocessConfig, manifest: dict, described: dict) -> None:
    """Every row has one fate, and every count is of the same rows. A failure is a fault of this
    program, so it is no FunnelError.
    """
    rows = manifest["rows"]
    accounted = (
        rows["examples_written"] + rows["rejected"] + rows["dropped_immature"] + rows["sampled_out"]
    )
    if rows["impressions_read"] != accounted:
        raise RuntimeError(
            f"{rows['impressions_read']} impressions were read but {accounted} are accounted for: {rows}"
        )
    written = {
        split: sum(s["rows"] for s in shards) for split, shards in manifest["shards"].items()
    }
    by_day = sum(day["rows"] for day in described["days"].values())
    if written != described["rows"] or by_day not in (0, rows["examples_written"]):
        raise RuntimeError(
            f"{written} examples were written, but statistics count {described['rows']}, by day {by_day}"
        )
    for label, declared in config.event_labels.items():
        events, stream = sum(manifest["events"][label].values()), manifest["inputs"][declared.event]
        if events != stream["rows_read"] - sum(stream["rejected"].values()):
            raise RuntimeError(
                f"label {label} accounts for {events} events of {declared.event}: {stream}"
            )
