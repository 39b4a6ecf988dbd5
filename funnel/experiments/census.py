"""Every sharing on KDD Census-Income: two tasks of one wide table, AUC on its test file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from features.errors import FunnelError
from features.manifest import read_manifest
from funnel.config.config import Config, load
from funnel.console import console, table
from funnel.examples import EXAMPLES
from funnel.experiments.base import Experiment, Metrics, Results, figure, spread
from funnel.experiments.training import SAME_NUMBERS, options, train
from model.config import ModelConfig
from model.evaluation.metrics import evaluate
from model.sharing import SHARING
from pipeline.job import preprocess

CONFIG = EXAMPLES / "census.toml"
UNITS = "units = [64, 32]"
EXPERTS = "expert_units = [64, 32]"
OPTIONS = {
    "single_task": UNITS,
    "shared_bottom": UNITS,
    "asymmetric": UNITS,
    "customized": UNITS,
    "moe": f"experts = 4, {EXPERTS}",
    "mmoe": f"experts = 4, {EXPERTS}",
    "ml_mmoe": f"levels = 2, experts = 4, {EXPERTS}",
    "cgc": f"shared_experts = 2, task_experts = 2, {EXPERTS}",
    "ple": f"levels = 2, shared_experts = 2, task_experts = 2, {EXPERTS}",
    "cross_stitch": UNITS,
    "sluice": "units = [48, 48]",  # of one width, as it must be
    "mose": "experts = 4",
}
PUBLISHED = {  # AUC of income / never married
    "single_task": {"MMoE paper": ".9337 / .9922", "PLE paper": ".9445 / .9923"},
    "shared_bottom": {"MMoE paper": ".9295 / .9921", "community": ".9478 / .9947"},
    "moe": {"MMoE paper": ".9319 / .9923"},
    "mmoe": {
        "MMoE paper": ".9359 / .9927",
        "PLE paper": ".9393 / .9928",
        "community": ".9463 / .9937",
    },
    "cgc": {"community": ".9471 / .9947"},
    "ple": {"PLE paper": ".9522 / .9945", "community": ".9480 / .9947"},
    "cross_stitch": {"MMoE paper": ".9361 / .9922"},
}


@dataclass(frozen=True)
class Census(Experiment):
    """Claim: soft sharing (cross-stitch, MMoE, PLE) gives a higher AUC than a shared bottom, and
    PLE the highest.

    The published figures are means of the MMoE paper (KDD 2018, table 1), those of the PLE paper
    (RecSys 2020, table 4) and one community run. The preprocessed rows stay in `out`/data.
    """

    @property
    def groups(self) -> list[list[str]]:
        return [[sharing for sharing in SHARING if sharing not in self.left_out]]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """The sharings that these features do not allow, and why."""
        reasons = {}
        for sharing in SHARING:
            config = self._load(sharing, 0)
            spec, model = config.spec, ModelConfig.parse(config.sections.model, "model")
            try:
                model.check(spec)
            except FunnelError as error:
                reasons[sharing] = str(error)
        return reasons

    def describe(self, setting: str) -> dict[str, Any]:
        return options(self._load(setting, 0))

    def measure(self, settings: Sequence[str], seed: int) -> Iterator[tuple[str, Metrics]]:
        data = self._data()
        for sharing in settings:
            config = self._load(sharing, seed)
            found = train(config, data)
            results = evaluate(config.spec, found, found)
            aucs = {task: result["auc"] for task, result in results.items()}
            yield sharing, {task: auc for task, auc in aucs.items() if auc is not None}

    def _load(self, sharing: str, seed: int) -> Config:
        own = f"model.sharing={{ name = '{sharing}', {OPTIONS[sharing]} }}"
        return load(self.config or CONFIG, [own, *SAME_NUMBERS, f"train.seed={seed}"])

    def _data(self) -> Path:
        """Preprocessed rows of the configuration, made if they are not there."""
        data, config = self.out / "data", load(self.config or CONFIG)
        if (
            not (data / "manifest.json").exists()
            or read_manifest(data)["fingerprint"] != config.spec.fingerprint
        ):
            preprocess(config.preprocess, data)
        return data

    def show(self, results: Results) -> None:
        summary = results.summary()
        tasks = list(next(iter(summary.values()), {}))
        rows = []
        for sharing, found in summary.items():
            published = "\n".join(
                f"{source} {aucs}" for source, aucs in PUBLISHED.get(sharing, {}).items()
            )
            rows.append(
                [
                    sharing,
                    found[tasks[0]]["n"],
                    *(spread(found[task]) for task in tasks),
                    published or None,
                ]
            )
        rows += [[sharing, *[None] * (2 + len(tasks))] for sharing in self.left_out]
        table("Test AUC, mean ± std", ["sharing", "seeds", *tasks, "published"], rows)
        for sharing, reason in self.left_out.items():
            console.print(f"{sharing} is left out: {reason}", markup=False)

    def draw(self, results: Results) -> Figure:
        """A panel for each task: every seed a point, the mean a line, by sharing."""
        summary = results.summary()
        tasks, sharings = list(next(iter(summary.values()), {})), list(summary)[::-1]
        drawn, axes = figure(max(1, len(tasks)), width=9.5, height=4.2)
        for axis, task in zip(axes, tasks, strict=False):
            for row, sharing in enumerate(sharings):
                values = results.values(sharing, task)
                axis.plot(values, [row] * len(values), ".", color="C0", alpha=0.5)
                axis.plot([summary[sharing][task]["mean"]], [row], "|", color="C0", markersize=14)
            axis.set(title=f"Test AUC of {task}", yticks=range(len(sharings)), yticklabels=sharings)
            axis.locator_params("x", nbins=5)
            axis.grid(axis="x", color="lightgray", linewidth=0.5)
        return drawn
