"""Partials → statistics.json, manifest.json and the rest, after checking that every row is accounted for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import FunnelError
from pipeline import statistics
from pipeline.config import PreprocessConfig
from pipeline.encode import Tally, tally_json
from pipeline.labels import Calendar
from pipeline.partition import Partial
from pipeline.sources import Source
from pipeline.write import schema_text, write_json

LAYOUT_VERSION = 1


def describe(
    config: PreprocessConfig,
    sources: list[Source],
    totals: dict[str, Tally],
    sample: pa.Table | None,
    calendar: Calendar,
    partials: list[Partial],
    out: Path,
) -> dict:
    """Checks the job's result and writes all its files but the shards, the manifest last. Returns the manifest.

    Raises FunnelError for too many rejects or an empty split.
    """
    partials = sorted(partials, key=lambda p: p.number)
    manifest = _manifest(config, sources, totals, calendar, partials)
    _check_rejects(config, totals)
    _check_splits(config, manifest)
    _check_reconciled(config, manifest)
    labels = statistics.add_counts([p.counts["labels"] for p in partials])
    write_json(
        out / "statistics.json",
        {
            "rows": {split: sum(s["rows"] for s in shards) for split, shards in manifest["shards"].items()},
            "labels": labels,
            "rates": {split: statistics.funnel_rates(config.spec, counts) for split, counts in labels.items()},
            "features": statistics.fold_features([p.features for p in partials]),
        },
    )
    config.spec.save(out / "spec.json")
    (out / "schema.pbtxt").write_text(schema_text(config.spec))
    pq.write_table(sample, out / "sample.parquet")
    write_json(out / "manifest.json", manifest)
    return manifest


def _manifest(
    config: PreprocessConfig, sources: list[Source], totals: dict[str, Tally], calendar: Calendar, partials: list[Partial]
) -> dict:
    counts = statistics.add_counts([p.counts for p in partials])
    shards = {split: [p.shards[split] for p in partials] for split in ("train", "eval")}
    files = Counter(s.stream for s in sources)
    rows = totals[config.rows]
    return {
        "layout": LAYOUT_VERSION,
        "fingerprint": config.spec.fingerprint,
        "rows": {
            "impressions_read": rows.rows_read,
            "examples_written": sum(s["rows"] for split in shards.values() for s in split),
            "rejected": sum(rows.rejected.values()) + counts["duplicates"],
            "duplicates": counts["duplicates"],
            "dropped_immature": counts["dropped_immature"],
            "sampled_out": 0,
        },
        "inputs": {stream: {"files": files[stream], **tally_json(total)} for stream, total in totals.items()},
        "events": counts["events"],
        "calendar": {
            "logs_end": _iso(calendar.logs_end),
            "mature_until": _iso(calendar.mature_until),
            "eval_from": _iso(calendar.eval_from),
        },
        "shards": shards,
    }


def _iso(time: int | None) -> str | None:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat() if time else None


def _check_rejects(config: PreprocessConfig, totals: dict[str, Tally]) -> None:
    for name, total in totals.items():
        rejected = sum(total.rejected.values())
        if rejected > config.output.max_rejects * total.rows_read:
            leading = ", ".join(f"{reason}: {count}" for reason, count in Counter(total.rejected).most_common(3))
            raise FunnelError(
                f"logs.{name}: {rejected} of {total.rows_read} rows cannot be used, more than output.max_rejects = "
                f"{config.output.max_rejects} allows ({leading}); mend the log or the declaration, or allow more"
            )


def _check_splits(config: PreprocessConfig, manifest: dict) -> None:
    for split, shards in manifest["shards"].items():
        if not sum(s["rows"] for s in shards):
            rows, calendar = manifest["rows"], manifest["calendar"]
            raise FunnelError(
                f"the {split} split is empty: {rows['impressions_read']} rows read, {rows['rejected']} rejected, "
                f"{rows['dropped_immature']} immature (logs end {calendar['logs_end']}, mature until {calendar['mature_until']}, "
                f"evaluation from {calendar['eval_from']}); choose another split.eval or shorter windows"
            )


def _check_reconciled(config: PreprocessConfig, manifest: dict) -> None:
    """Every row has one fate. A failure here is a fault of this program, so it is no FunnelError."""
    rows = manifest["rows"]
    accounted = rows["examples_written"] + rows["rejected"] + rows["dropped_immature"] + rows["sampled_out"]
    if rows["impressions_read"] != accounted:
        raise RuntimeError(f"{rows['impressions_read']} impressions were read but {accounted} are accounted for: {rows}")
    for label, declared in config.event_labels.items():
        events, stream = sum(manifest["events"][label].values()), manifest["inputs"][declared.event]
        if events != stream["rows_read"] - sum(stream["rejected"].values()):
            raise RuntimeError(f"label {label} accounts for {events} events of {declared.event}: {stream}")
