"""Sample selection bias: p(convert | click) learned from clicks, measured on all impressions of a
simulation, whose true rates are known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from features.errors import FunnelError
from funnel.config.config import Config, load
from funnel.console import table
from funnel.examples import EXAMPLES
from funnel.experiments.base import Experiment, Metrics, Results, figure, statistics
from funnel.experiments.training import SAME_NUMBERS, flat, options, train
from pipeline.job import preprocess
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.simulate import simulate

CONFIG = EXAMPLES / "demo.toml"
SELECTIONS = {  # what makes clicks convert more than other impressions
    "features": ["simulate.correlation=0.8", "simulate.selection=0.0"],
    "hidden": ["simulate.correlation=0.0", "simulate.selection=1.0"],
}
METHODS = {
    "clicks_only": ["model.funnel=independent"],
    "esmm": ["model.funnel=esmm"],
    "escm2_ipw": ["model.funnel={ name = 'escm2', estimator = 'ipw' }"],
    "escm2_dr": ["model.funnel={ name = 'escm2', estimator = 'dr' }"],
}
OPTIONS = [
    # Whole logs whose every label is mature: what is measured is the selection alone.
    "simulate.ctr=0.2",
    "simulate.cvr=0.2",
    "simulate.trailing=3d",
    "simulate.conversion_delay=1h",
    *(f"simulate.{rate}=0.0" for rate in ("duplicates", "orphans", "malformed", "late")),
    # Few enough users and items for their ids to be learned: an affinity that the model cannot
    # learn is a hidden factor to it.
    "simulate.users=500",
    "simulate.items=100",
    *SAME_NUMBERS,
]
METRICS = {
    "auc": "AUC over all impressions, against the drawn outcome",
    "clicked": "mean prediction ÷ mean truth, clicked",
    "unclicked": "mean prediction ÷ mean truth, unclicked",
}


@dataclass(frozen=True)
class ESMMBias(Experiment):
    """Claim: trained on clicks alone, CVR is biased on the impressions that were not clicked;
    ESMM, ESCM2-IPW and ESCM2-DR are not.

    Ma et al., Entire Space Multi-Task Model, SIGIR 2018; Wang et al., ESCM²: Entire Space
    Counterfactual Multi-Task Model, SIGIR 2022. The truth of a calibration is the mean of the
    simulator's p(convert | click), which is known for unclicked impressions, too.
    """

    impressions: int = 250_000

    @property
    def groups(self) -> list[list[str]]:
        return [[f"{selection}/{method}" for method in METHODS] for selection in SELECTIONS]

    def describe(self, setting: str) -> dict[str, Any]:
        config = self._load(setting, 0, Path("."))
        simulation = _simulation(config).model_dump(mode="json", exclude={"out", "seed"})
        return options(config) | flat("simulate", simulation)

    def measure(self, settings: Sequence[str], seed: int) -> Iterator[tuple[str, Metrics]]:
        with tempfile.TemporaryDirectory() as folder:
            config = self._load(settings[0], seed, Path(folder))
            simulate(_simulation(config), config.logs)
            preprocess(config.preprocess, config.data)
            for setting in settings:
                config = self._load(setting, seed, Path(folder))
                yield setting, _measure(config)

    def _load(self, setting: str, seed: int, folder: Path) -> Config:
        """The configuration with its logs in `folder`; the seed draws the logs and the first
        weights.
        """
        selection, method = setting.split("/")
        streams = [
            f"logs.{s}.files={folder}/logs/{s}/*/*"
            for s in ("impressions", "clicks", "conversions")
        ]
        own = [
            f"simulate.impressions={self.impressions}",
            f"simulate.out={folder}/logs",
            f"simulate.seed={seed}",
            f"train.seed={seed}",
        ]
        config = load(
            self.config or CONFIG,
            [f"run={folder}", *own, *streams, *OPTIONS, *SELECTIONS[selection], *METHODS[method]],
        )
        if not any(task.given for task in config.spec.tasks.values()):
            raise FunnelError(
                f"{self.config or CONFIG}: no task has `given`, so there is no selection to "
                f"measure; see {CONFIG}"
            )
        return config

    def show(self, results: Results) -> None:
        """The last column is a mean of differences on the same logs, which vary less than the logs
        do.
        """
        rows = []
        for setting, found in results.summary().items():
            selection, method = setting.split("/")
            mine, base = results.found[setting], results.found[f"{selection}/clicks_only"]
            gains = [mine[seed]["auc"] - base[seed]["auc"] for seed in mine if seed in base]
            gain = _with_interval(statistics(gains)) if gains and mine is not base else None
            rows.append(
                [
                    selection,
                    method,
                    found["auc"]["n"],
                    *(_with_interval(found[metric]) for metric in METRICS),
                    gain,
                ]
            )
        header = [
            "selection by",
            "method",
            "seeds",
            "AUC",
            "clicked",
            "unclicked",
            "AUC − clicks_only",
        ]
        table(
            "p(convert | click), mean ± half of its 95 % interval: AUC over all impressions, "
            "prediction ÷ truth",
            header,
            rows,
        )

    def draw(self, results: Results) -> Figure:
        """A panel for each metric: the mean of each method with its interval, by selection."""
        drawn, axes = figure(len(METRICS), width=11)
        summary = results.summary()
        for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
            for row, selection in enumerate(SELECTIONS):
                found = {
                    i: summary[s][metric]
                    for i, m in enumerate(METHODS)
                    if (s := f"{selection}/{m}") in summary
                }
                at = [i + 0.2 * (row - 0.5) for i in found]
                means, halves = (
                    [f["mean"] for f in found.values()],
                    [f["interval"] for f in found.values()],
                )
                axis.errorbar(
                    at,
                    means,
                    halves,
                    fmt="o",
                    markersize=4,
                    capsize=4,
                    label=f"selection by {selection}",
                )
            if metric != "auc":
                axis.axhline(1, color="lightgray", zorder=0)
            axis.set(
                title=title.replace(", ", ",\n"),
                xticks=range(len(METHODS)),
                xticklabels=[m.replace("_", "\n") for m in METHODS],
            )
            axis.title.set_fontsize(10)
        axes[0].legend(fontsize=8)
        return drawn


def _simulation(config: Config) -> SimulateConfig:
    if config.simulate is None:
        raise FunnelError(f"the configuration has no [simulate] section; see {CONFIG}")
    return config.simulate


def _with_interval(found: Metrics) -> str:
    return f"{found['mean']:z.3f} ± {found['interval']:.3f}"


def _measure(config: Config) -> Metrics:
    """Trains, and compares the scores of the task after a click on all eval impressions with the
    simulator's truth.
    """
    task = next(name for name, declared in config.spec.tasks.items() if declared.given)
    found = train(config, config.data)
    p = found[f"p_{task}"]
    truth = pq.read_table(config.logs / "truth.parquet")
    truth = truth.take(pc.index_in(pc.cast(found["id"].tolist(), "string"), truth["impression_id"]))
    true_p, clicked = truth["p_convert_given_click"].to_numpy(), truth["clicked"].to_numpy() == 1
    metrics = {"auc": float(roc_auc_score(truth["converts"].to_numpy(), p))}
    for name, rows in (("clicked", clicked), ("unclicked", ~clicked)):
        metrics[name] = float(np.mean(p[rows], dtype=np.float64) / true_p[rows].mean())
    return metrics
