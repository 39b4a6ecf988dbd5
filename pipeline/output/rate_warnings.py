"""Warnings about labels whose rate moves from one day to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from features.spec import Spec

FACTOR = 3.0  # between the rates of two days
ENOUGH = 20  # positive rows that the lower day would have at the rate of the other


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
