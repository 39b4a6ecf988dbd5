"""Random logs and configurations: the job and tests/naive_labels.py agree on every label, split,
weight, disposition and count.
"""

from __future__ import annotations

import os
import pprint
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from direct_job import preprocess_directly
from naive_labels import expected
from pipeline_logs import read_examples
from random_files import configuration, without_faults, write_files
from random_logs import make_case, shrunk

from features.errors import FunnelError
from pipeline.job import preprocess

FAST = 100  # seeds in `make test`


def wanted(case: dict[str, Any]) -> dict[str, Any]:
    """What the job should write."""
    good, rejected = without_faults(case)
    own = next(iter(case["logs"]))
    fates, kinds, times = expected(good)
    count = Counter(fate for fate, *_ in fates.values())
    for split in ("train", "eval"):
        if not count[split]:
            return {"error": f"the {split} split is empty"}
    duplicates = len(good["rows"][own]) - len(fates)
    examples = {
        id_: {"split": fate, "weight": weight} | dict(zip(case["labels"], values, strict=True))
        for id_, (fate, weight, *values) in fates.items()
        if fate in ("train", "eval")
    }
    return {
        "examples": examples,
        "rows": {
            "impressions_read": len(case["rows"][own]),
            "examples_written": len(examples),
            "rejected": rejected[own].total() + duplicates,
            "duplicates": duplicates,
            "dropped_immature": count["dropped"],
            "sampled_out": count["sampled_out"],
        },
        "inputs": {
            name: {"rows_read": len(rows), "rejected": dict(sorted(rejected[name].items()))}
            for name, rows in case["rows"].items()
        },
        "events": {
            name: {kind: n for kind, n in sorted(kinds[name].items()) if n}
            for name, label in case["labels"].items()
            if label["stream"] != own
        },
        "calendar": [
            datetime.fromtimestamp(time / 1e6, UTC).isoformat() if time else None
            for time in (*times[:2], times[2] if case["eval"]["last"] else None)
        ],
    }


def found(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What it writes."""
    write_files(case, folder)
    try:
        manifest = preprocess_directly(configuration(case, folder), folder / "data")
    except FunnelError as error:
        if "split is empty" not in str(error):
            raise
        return {"error": str(error).partition(":")[0]}
    examples = {
        id_: {"split": row["split"], "weight": row.get("weight", 1)}
        | {name: row[name] for name in case["labels"]}
        for id_, row in read_examples(folder / "data").items()
    }
    return {
        "examples": examples,
        "rows": manifest["rows"],
        "inputs": {
            name: {key: held[key] for key in ("rows_read", "rejected")}
            for name, held in manifest["inputs"].items()
        },
        "events": {
            name: {kind: n for kind, n in sorted(kinds.items()) if n}
            for name, kinds in manifest["events"].items()
        },
        "calendar": [
            manifest["calendar"][key] for key in ("logs_end", "mature_until", "eval_from")
        ],
    }


def difference(case: dict[str, Any]) -> str:
    """Where the two disagree; empty if they agree."""
    with tempfile.TemporaryDirectory() as folder:
        held, right = found(case, Path(folder)), wanted(case)
    parts = [key for key in {**held, **right} if held.get(key) != right.get(key)]
    return "\n".join(f"{key}: {held.get(key)}\nnot {right.get(key)}" for key in parts)


def differs(case: dict[str, Any]) -> bool:
    try:
        return bool(difference(case))
    except FunnelError:  # no configuration
        return False


@pytest.fixture(autouse=True)
def without_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=pytest.mark.slow) if n >= FAST else n for n in range(1000)]
)
def test_the_job_equals_the_reference(seed):
    case = make_case(seed)
    if difference(case):
        small = shrunk(case, differs)
        pytest.fail(f"{difference(small)}\n\n{pprint.pformat(small, width=100, sort_dicts=False)}")


def test_the_steps_in_a_row_write_what_the_beam_job_writes(tmp_path):
    case = next(case for case in map(make_case, range(100)) if is_rich(case))
    write_files(case, tmp_path)
    config = configuration(case, tmp_path)
    manifests = (
        preprocess(config, tmp_path / "beam"),
        preprocess_directly(config, tmp_path / "data"),
    )
    assert manifests[0] == manifests[1]


def is_rich(case: dict[str, Any]) -> bool:
    """Whether a case has several partitions, rejects, and events that go via others."""
    via = any(stream["via"] for stream in case["logs"].values())
    right = wanted(case)
    rejected = any(held["rejected"] for held in right.get("inputs", {}).values())
    return via and rejected and case["output"]["shards"] > 1
