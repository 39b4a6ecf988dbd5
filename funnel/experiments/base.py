"""The base of all experiments, and their results on disk: a line for each setting and seed.

A setting is one of the things compared, as "mmoe@0.5"; it is measured once for every seed.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure  # no pyplot: it would look for a screen
from rich.markup import escape
from scipy.stats import t as student

from features import files
from features.errors import FunnelError, nearest, one_line
from funnel.console import console, progress_bar

Metrics = dict[str, float]
Summary = dict[str, dict[str, Metrics]]  # {setting: {metric: {mean, std, median, interval, n}}}
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Experiment:
    """Subclasses define what is measured, and show the results.

    Args:
        out: The directory of results.jsonl, summary.json and plot.png.
        config: A configuration file that replaces the default one.
    """

    has_table: ClassVar[bool] = False  # whether --table can print it

    out: Path
    config: Path | None = None

    @property
    def groups(self) -> list[list[str]]:
        """All settings; those of a group are measured on the same data."""
        raise NotImplementedError(f"{type(self).__name__}.groups")

    def describe(self, setting: str) -> dict[str, Any]:
        """What a result depends on besides the seed: values that JSON holds."""
        raise NotImplementedError(f"{type(self).__name__}.describe")

    def measure(self, settings: Sequence[str], seed: int) -> Iterator[tuple[str, Metrics]]:
        """(setting, its metrics) of settings of one group, each as soon as it is measured."""
        raise NotImplementedError(f"{type(self).__name__}.measure")

    def show(self, results: Results) -> None:
        """Prints the table."""
        raise NotImplementedError(f"{type(self).__name__}.show")

    def draw(self, results: Results) -> Figure:
        """The plot."""
        raise NotImplementedError(f"{type(self).__name__}.draw")

    def table(self, results: Results, only: Sequence[str] = ()) -> dict[str, Any]:
        """The results as JSON, for experiments whose `has_table` is True."""
        raise NotImplementedError(f"{type(self).__name__}.table")


class Results:
    """The lines of results.jsonl: {setting, seed, of: what it depends on, metrics}."""

    def __init__(self, experiment: Experiment) -> None:
        self.path = experiment.out / "results.jsonl"
        self.of = {
            setting: experiment.describe(setting)
            for group in experiment.groups
            for setting in group
        }
        self.found: dict[str, dict[int, Metrics]] = {setting: {} for setting in self.of}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for line in self._whole_lines():
            self._take(json.loads(line))

    def _whole_lines(self) -> list[str]:
        """The lines so far. One that a crash cut off is removed from the file."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        return whole.decode().splitlines()

    def _take(self, line: dict[str, Any]) -> None:
        if line["setting"] not in self.found:
            return
        mine = self.of[line["setting"]]
        for key in [*line["of"], *mine]:
            was, now = line["of"].get(key), mine.get(key)
            if was != now:
                raise FunnelError(
                    f"{self.path}: {line['setting']} was measured with {key} = {was!r}, but {key} "
                    f"is now {now!r}: give another --out, or remove the file"
                )
        self.found[line["setting"]][line["seed"]] = line["metrics"]

    def add(self, setting: str, seed: int, metrics: Metrics) -> None:
        """One write of a whole line: a crash leaves it there or not."""
        line = {"setting": setting, "seed": seed, "of": self.of[setting], "metrics": metrics}
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self.found[setting][seed] = metrics

    def values(self, setting: str, metric: str) -> list[float]:
        """A metric by seed."""
        return [metrics[metric] for _, metrics in sorted(self.found[setting].items())]

    def summary(self) -> Summary:
        """Of the settings that have results, over all their seeds."""
        metrics = {
            setting: next(iter(by_seed.values()))
            for setting, by_seed in self.found.items()
            if by_seed
        }
        return {
            setting: {name: statistics(self.values(setting, name)) for name in names}
            for setting, names in metrics.items()
        }


def statistics(values: Sequence[float]) -> Metrics:
    """Mean, standard deviation s (n − 1), median and half of the mean's confidence interval,
    t·s/√n. A single value has no spread.

    Example:
        >>> statistics([1.0, 2.0, 3.0])["median"]
        2.0
    """
    n = len(values)
    std = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / n**0.5 if n > 1 else 0.0
    return {
        "mean": float(np.mean(values)),
        "std": std,
        "median": float(np.median(values)),
        "interval": half,
        "n": n,
    }


def run(experiment: Experiment, seeds: int, only: Sequence[str] = ()) -> Summary:
    """Measures what is missing of seeds 1 … `seeds`, of all settings or those of `only`; then shows
    and draws all results.

    Raises:
        FunnelError: A setting is unknown, or `out` holds results of other options.
    """
    # TensorFlow warns of retracing: each training traces its own graph.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    results = Results(experiment)
    for setting in only:
        if setting not in results.found:
            raise FunnelError(
                f"--only {setting}: is not a setting of this experiment: "
                f"{nearest(setting, results.found)}"
            )
    todo = _missing(results, experiment.groups, seeds, only)
    done, total = itertools.count(1), sum(len(settings) for _, settings in todo)
    with progress_bar("measuring", "settings") as progress:
        for seed, settings in todo:
            for setting, metrics in experiment.measure(settings, seed):
                results.add(setting, seed, metrics)
                console.print(
                    f"· seed {seed}  {setting}: "
                    + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()),
                    markup=False,
                )
                progress(next(done), total)
    summary = results.summary()
    content = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    files.write_text(experiment.out / "summary.json", content)
    with files.replacing(experiment.out / "plot.png") as temporary:
        experiment.draw(results).savefig(temporary, format="png")
    experiment.show(results)
    line = f"{experiment.out}: results.jsonl, summary.json, plot.png"
    console.print(f"[green]✓[/green] {escape(one_line(line))}")
    return summary


def _missing(
    results: Results, groups: list[list[str]], seeds: int, only: Sequence[str]
) -> list[tuple[int, list[str]]]:
    """(seed, settings of one group that have no result of it), without empty lists."""
    found = [
        (seed, [s for s in group if s in (only or group) and seed not in results.found[s]])
        for seed in range(1, seeds + 1)
        for group in groups
    ]
    return [(seed, settings) for seed, settings in found if settings]


def figure(columns: int, *, width: float, height: float = 3.6) -> tuple[Figure, np.ndarray]:
    """A figure and its axes [columns]; width and height in inches."""
    drawn = Figure(figsize=(width, height), layout="constrained", dpi=110)
    return drawn, drawn.subplots(1, columns, squeeze=False)[0]


def spread(found: Mapping[str, float], digits: int = 4) -> str:
    """mean ± std."""
    return f"{found['mean']:.{digits}f} ± {found['std']:.{digits}f}"
