"""What every benchmark prints: the machine, a table of medians, a JSON object as the last line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from statistics import median

GIB = 2**30


def describe() -> str:
    """'2 cores, 23.5 GiB of memory, 2026-11-23'."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{len(os.sched_getaffinity(0))} cores, {memory:.1f} GiB of memory, {date.today()}"


def interleave(measured: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls each in turn, `rounds` times over, so that a machine that drifts slows all alike.
    Returns every result by name.
    """
    results: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(rounds):
        for name, measure in measured.items():
            results[name].append(measure())
            print(f"· round {number + 1} of {rounds}: {name} {results[name][-1]:,.4g}", flush=True)
    return results


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return median(a / b for a, b in zip(above, below, strict=True))


def finish(table: Sequence[Sequence[str]], result: Mapping[str, float]) -> None:
    """Prints the table, its first row the header, and the result."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(describe())
    for row in table:
        print(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
    print(json.dumps({name: float(f"{value:.4g}") for name, value in result.items()}))
