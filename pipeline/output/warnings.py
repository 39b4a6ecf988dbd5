"""All warnings of a job, to be read before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.fitted import Fitted
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.output.label_warnings import (
    clock_warnings,
    fold_early,
    label_warnings,
    task_warnings,
)
from pipeline.output.rate_warnings import rate_warnings
from pipeline.output.require import Warned, of_kind
from pipeline.output.results import PartitionResult
from pipeline.statistics import collisions, relevance
from pipeline.statistics.fit import unmatched
from pipeline.statistics.sample import SplitRows
from pipeline.statistics.streams import StreamCounts


def all_warnings(
    config: PreprocessConfig,
    totals: Mapping[str, StreamCounts],
    results: Sequence[PartitionResult],
    events: Mapping[str, Mapping[str, int]],
    described: Mapping[str, Any],
    fitted: Fitted,
    sample: SplitRows,
) -> Iterator[Warned]:
    """Yields the warnings about clocks, labels, tasks, rates and features, in this order.

    Args:
        config: the configuration.
        totals: the counts of each stream.
        results: of all partitions.
        events: the events of each event label by disposition.
        described: statistics.json.
        fitted: what was learned from the training split.
        sample: of its rows.
    """
    spec, labels = config.spec, described["labels"]
    spans = {name: total.spans for name, total in totals.items()}
    yield from of_kind("plausible_times", clock_warnings(config, spans))
    yield from label_warnings(config, events, fold_early(results), totals, labels)
    yield from task_warnings(spec, labels, fitted.outcomes)
    yield from of_kind("steady_rates", rate_warnings(spec, described["days"]))
    yield from feature_warnings(spec, described, fitted)
    yield from of_kind("vocabularies", unmatched(spec, sample, fitted))


def feature_warnings(spec: Spec, described: Mapping[str, Any], fitted: Fitted) -> Iterator[Warned]:
    """Yields warnings about possible label leakage, empty vocabularies and frequent values that
    share a bucket.
    """
    leaks = relevance.suspects(described["relevance"], described["labels"]["train"])
    yield from of_kind("no_leaks", leaks)
    for name, ids in fitted.vocabularies.items():
        if not ids:
            line = (
                f"features.{name}.min_count = {spec.vocabularies[name].min_count}: no value of the "
                "training split is seen so often, so all share one row; lower it, or give buckets"
            )
            yield Warned(line, ("vocabularies",))
    yield from of_kind("own_buckets", collisions.warnings(spec, described["features"]))
