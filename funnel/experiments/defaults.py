"""The default training settings against reference models, on many data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import sklearn
from matplotlib.figure import Figure

from features import files
from features.errors import FunnelError
from funnel.console import console, table
from funnel.experiments.bars import Medians, bars, by_task, counts, gain
from funnel.experiments.base import Experiment, Metrics, Results, figure
from funnel.experiments.data_sets import PUBLIC, DataSet
from funnel.experiments.references import references
from funnel.experiments.sets import SETS
from funnel.experiments.training import flat, train
from model.config import ModelConfig
from model.data.input import Data
from model.evaluation.metrics import measure
from model.objectives import own_space
from model.training.defaults import RULE

SHOWN = ("auc", "auc_lr", "auc_hgb", "logloss", "logloss_lr", "logloss_constant")
HOLDS = {True: "yes", False: "no", None: None}
HALVES = ("studied", "held-out")
COLORS = {"studied": "C0", "held-out": "C1"}


@dataclass(frozen=True)
class Defaults(Experiment):
    """Claim: a training without settings does as well as logistic regression and boosted trees.

    `public` is the folder of the public sets. A set's files and preprocessed rows stay in
    `out`/data/<set>.
    """

    has_table: ClassVar[bool] = True

    public: Path = PUBLIC
    sets: Mapping[str, DataSet] = field(default_factory=lambda: SETS)

    def __post_init__(self) -> None:
        if self.config:
            raise FunnelError(f"--config {self.config}: defaults has its own sets; leave it out")

    @property
    def groups(self) -> list[list[str]]:
        """A group for each set; a set whose files are absent has none."""
        return [[name] for name in self.sets if name not in self.left_out]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """The sets that cannot be made here, and why."""
        reasons = {name: found.missing(self.public) for name, found in self.sets.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    def describe(self, setting: str) -> dict[str, Any]:
        folder = self._folder(setting)
        config, of = self.sets[setting].config(folder), self.sets[setting].describe(folder)
        # Parsed without its checks, which trace a funnel's graph: too slow for every set.
        model = ModelConfig.parse(config.sections.model, "model")
        for name, section in (("model", model), ("train", config.train)):
            dumped = section.model_dump(mode="json", exclude_none=True, exclude={"seed"})
            of |= flat(name, dumped)
        return of | flat("rule", RULE)

    def measure(self, settings: Sequence[str], seed: int) -> Iterator[tuple[str, Metrics]]:
        for name in settings:
            data, found = self.data(name), self.references(name)
            config = self.sets[name].config(self._folder(name), seed)
            predicted = train(config, data.directory)
            metrics: Metrics = {"rows": data.rows("train")}
            for task, of_task in found.items():
                label, mask = own_space(config.spec, task, predicted)
                own = measure(predicted[f"p_{task}"][mask], label[mask], 0.5)
                own_metrics = {metric: own[metric] for metric in ("auc", "logloss")}
                metrics |= _named(task, own_metrics | of_task)
            yield name, metrics

    def data(self, name: str) -> Data:
        """A set's preprocessed rows, made if they are not there."""
        found, folder = self.sets[name], self._folder(name)
        return Data(found.make(folder, self.public), found.config(folder).spec)

    def references(self, name: str) -> dict[str, Metrics]:
        """The references' metrics by task, kept in references.json beside their training rows."""
        data, path = self.data(name), self._folder(name) / "references.json"
        of = self.sets[name].describe(self._folder(name)) | {"scikit-learn": sklearn.__version__}
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["of"] == of:
                tasks: dict[str, Metrics] = kept["tasks"]
                return tasks
        found = references(data)
        files.write_text(path, json.dumps({"of": of, "tasks": found}, indent=1) + "\n")
        return found

    def _folder(self, name: str) -> Path:
        return self.out / "data" / name

    def table(self, results: Results, only: Sequence[str] = ()) -> dict[str, Any]:
        """Medians over seeds by set and task, and the bars of each half, and of both."""
        medians = self._medians(results, only)
        cases = [(s, task, m) for s, tasks in medians.items() for task, m in tasks.items()]
        few = [f"{s}/{task}" for s, task, m in cases if not counts(m)]
        counted: dict[str, dict[str, Metrics]] = {}
        for name, task, metrics in cases:
            if counts(metrics):
                counted.setdefault(name, {})[task] = metrics
        halves = {half: self._of_half(counted, half) for half in HALVES}
        if all(halves.values()):
            halves["both"] = counted
        missing = [s for s in results.found if not results.found[s] and s in (only or [s])]
        return {
            "sets": {s: self._about(results, s) | {"tasks": tasks} for s, tasks in counted.items()},
            "not_counted": few,
            "not_measured": missing,
            "left_out": {s: why for s, why in self.left_out.items() if s in (only or [s])},
            "bars": {half: bars(found) for half, found in halves.items() if found},
        }

    def _medians(self, results: Results, only: Sequence[str] = ()) -> dict[str, dict[str, Metrics]]:
        found = {}
        for name, summary in results.summary().items():
            if name in (only or [name]):
                found[name] = by_task({metric: _median(metric, s) for metric, s in summary.items()})
        return found

    def _of_half(self, medians: Medians, half: str) -> Medians:
        return {name: found for name, found in medians.items() if self.sets[name].half == half}

    def _about(self, results: Results, name: str) -> dict[str, Any]:
        by_seed = results.found[name]
        rows = next(iter(by_seed.values()))["rows"]
        return {"half": self.sets[name].half, "rows": rows, "seeds": len(by_seed)}

    def show(self, results: Results) -> None:
        found = self.table(results)
        rows = [
            [f"{name}/{task}", *(f"{metrics[metric]:.3f}" for metric in SHOWN)]
            for name, about in found["sets"].items()
            for task, metrics in about["tasks"].items()
        ]
        header = ["set/task", "AUC", "LR", "HGB", "loss", "LR", "const"]
        table("Medians over seeds: AUC and log loss beside the references'", header, rows)
        for half, each in found["bars"].items():
            lines = [[b["bar"], HOLDS[b["pass"]], b.get("worst"), b.get("margin")] for b in each]
            table(f"Bars, {half}", ["bar", "holds", "worst", "margin"], lines)
        for name in found["not_counted"]:
            console.print(f"{name} is not counted: too few positives", markup=False)
        for name, reason in found["left_out"].items():
            console.print(f"{name} is left out: {reason}", markup=False)

    def draw(self, results: Results) -> Figure:
        """AUC minus the better reference's, a point for each task that counts, by set."""
        found = self._medians(results).items()
        medians = {s: [gain(m) for m in tasks.values() if counts(m)] for s, tasks in found}
        names = [name for name, gains in medians.items() if gains][::-1]
        drawn, (axis,) = figure(1, width=7.5, height=1.5 + 0.22 * len(names))
        for row, name in enumerate(names):
            color = COLORS[self.sets[name].half]
            axis.plot(medians[name], [row] * len(medians[name]), "o", color=color, markersize=4)
        axis.axvline(0, color="gray", linewidth=0.8)
        for half, color in COLORS.items():
            axis.plot([], [], "o", color=color, markersize=4, label=half)
        axis.set(yticks=range(len(names)), yticklabels=names)
        axis.set_title("AUC minus that of the better of LR and HGB")
        axis.grid(axis="x", color="lightgray", linewidth=0.5)
        drawn.legend(loc="outside lower center", ncols=2, fontsize=8)
        return drawn


def _median(metric: str, found: Metrics) -> float:
    """The median; a count stays an integer, since it is the same for every seed."""
    return int(found["median"]) if metric.endswith(("rows", "positives")) else found["median"]


def _named(task: str, found: Mapping[str, float | None]) -> Metrics:
    """{"<task>/<metric>": value}; undefined metrics are left out."""
    return {f"{task}/{metric}": value for metric, value in found.items() if value is not None}
