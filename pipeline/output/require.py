"""The kinds of warnings, and [output] require, which turns some of them into errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from features.errors import FunnelError
from features.settings import Settings


class Warned(NamedTuple):
    """A warning, and the kinds that it has: fields of Require."""

    line: str
    kinds: tuple[str, ...]


class Require(Settings):
    """What must hold: a warning that it does not is an error, and nothing is published.

    Attributes:
        positives: each label has a positive row in the training split, each number one above 0.
        negatives: each binary label has a negative row in the training split.
        matched_events: some event of each event label matches.
        equals: some row has a value that the `equals` of each label names.
        sample_spaces: each task's sample space has rows of both classes.
        eval_positives: each task has enough positive rows to be evaluated on.
        steady_rates: no label's rate moves too far from one day to the next.
        plausible_times: no time lies implausibly far after the others.
        precise_times: no stream's times look cut to a coarser unit.
        no_leaks: no feature alone predicts a label too well.
        vocabularies: each vocabulary holds a value of the training rows.
        own_buckets: no two frequent values share a bucket.
    """

    positives: bool = False
    negatives: bool = False
    matched_events: bool = False
    equals: bool = False
    sample_spaces: bool = False
    eval_positives: bool = False
    steady_rates: bool = False
    plausible_times: bool = False
    precise_times: bool = False
    no_leaks: bool = False
    vocabularies: bool = False
    own_buckets: bool = False


def of_kind(kind: str, lines: Iterable[str]) -> Iterator[Warned]:
    """Warnings of one kind."""
    return (Warned(line, (kind,)) for line in lines)


def check_required(required: Require, warnings: Iterable[Warned]) -> None:
    """Raises FunnelError where a warning is of a kind that is required not to occur."""
    failed = [
        (kind, one.line)
        for one in warnings
        for kind in [next((kind for kind in one.kinds if getattr(required, kind)), None)]
        if kind is not None
    ]
    if failed:
        kind, line = failed[0]
        others = [f"{other} ({text.split()[0].rstrip(':')})" for other, text in failed[1:]]
        more = f"; so do {len(others)} more: {', '.join(others)}" if others else ""
        raise FunnelError(
            f"output.require.{kind} fails, so nothing is published: {line}{more}; or set "
            f"output.require.{kind} = false"
        )
