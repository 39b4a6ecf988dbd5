"""The preprocessing job without Beam: its steps called in a row, for tests of many small logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipeline.config import PreprocessConfig
from pipeline.job import finish
from pipeline.labeling.attribution import KEYED, Route, attribute_partition
from pipeline.output.progress import MARKERS
from pipeline.output.worker_errors import raise_first
from pipeline.plan import make_plan
from pipeline.spans import fold_spans
from pipeline.steps import COUNTS, Encode, WritePartition, calendar_of_spans, cut_source

MAIN = "batches"


def preprocess_directly(config: PreprocessConfig, out: Path) -> dict[str, Any]:
    """Does what `pipeline.job.preprocess` does, but for the files of rejects: the manifest."""
    plan = make_plan(config)
    (out / MARKERS).mkdir(parents=True)
    pieces = [p for numbered in enumerate(plan.sources) for p in cut_source(numbered, config, out)]
    encoded = _do(Encode(plan, out), pieces)
    spans = [(counts.stream, counts.spans) for counts in encoded[COUNTS]]
    folded = {name: fold_spans(own) for name, own in _group(spans)}
    calendar = calendar_of_spans(config, folded, out)
    batches = encoded[MAIN]
    if config.vias:
        routed = _do(Route(config, plan.shards), batches)
        batches = routed[MAIN]
        for _, found in _group(routed[KEYED]):
            batches += attribute_partition(config, plan.shards, found)
    written = _do(WritePartition(config, plan.shards, out), _group(batches), calendar)
    raise_first(out)
    return finish(plan, encoded[COUNTS], written[MAIN], out)


def _do(step: beam.DoFn, elements: Iterable[Any], *side: Any) -> dict[str, list[Any]]:
    """The outputs of a step by tag."""
    found: dict[str, list[Any]] = defaultdict(list)
    for element in elements:
        for one in step.process(element, *side):
            tagged = isinstance(one, beam.pvalue.TaggedOutput)
            found[one.tag if tagged else MAIN].append(one.value if tagged else one)
    return found


def _group(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, list[Any]]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return list(groups.items())
