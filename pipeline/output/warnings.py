"""All warnings of a job, to be read before training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
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
from pipeline.output.require import Warned, of_kind
from pipeline.output.results import PartitionResult
from pipeline.statistics import collisions, relevance
from pipeline.statistics.fit import unmatched
from pipeline.statistics.sample import SplitRows
from pipeline.statistics.streams import StreamCounts

FACTOR = 3.0  # between the rates of two days
ENOUGH = 20  # positive rows that the lower day would have at the rate of the other


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


def rate_warnings(spec: Spec, days: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each binary label whose rate moves by more than FACTOR between two neighboring
    days with rows, on which ENOUGH rows are known.

    Args:
        spec: the labels.
        days: rising; of each its `rates` and the numbers of rows by label, as statistics.json has
            them.
    """
    for name, label in spec.labels.items():
        if label.is_number:
            continue
        moves = [
            (_factor(days[first], days[second], name, getattr(label, "after", None)), first, second)
            for first, second in pairwise(days)
        ]
        factor, first, second = max(moves, key=lambda move: move[0], default=(0.0, "", ""))
        if factor > FACTOR:
            rates = [f"{100 * days[day]['rates'][name]:.3g} %" for day in (first, second)]
            yield (
                f"labels.{name}: its rate is {rates[0]} on {first} and {rates[1]} on {second}, "
                f"more than a factor of {FACTOR:g} apart; check that the logs of both days are "
                "whole and that the label means the same on both"
            )


def _factor(
    first: Mapping[str, Any], second: Mapping[str, Any], name: str, after: str | None
) -> float:
    """The higher rate divided by the lower one; 0 where they are known on too few rows."""
    if first["rates"][name] is None or second["rates"][name] is None:
        return 0.0
    low, high = sorted((first, second), key=lambda day: float(day["rates"][name]))
    counts = low["labels"][after or name]
    rows = counts["positive"] + (0 if after else counts["negative"])
    if rows * high["rates"][name] < ENOUGH:
        return 0.0
    below = low["rates"][name]
    return float(high["rates"][name] / below) if below else math.inf
