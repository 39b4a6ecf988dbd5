"""The configuration file: one TOML file → the settings of every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field

from features import files
from features.errors import FunnelError, nearest
from features.settings import PathText, Settings
from features.spec import Spec
from funnel.config.overrides import override, plain, read_toml
from funnel.config.sections import EvaluationConfig, Exporters, WarmStartConfig
from funnel.console import load_tensorflow
from model.config import ModelConfig, needs_tensorflow
from model.evaluation.conditions import Condition, TaskMetric
from model.training.config import RunConfig, TrainConfig
from pipeline.checks import check_config
from pipeline.config import Dates, Output, PreprocessConfig, Stream
from pipeline.labeling.config import Sampling, Split
from pipeline.simulation.config import SimulateConfig


class Sections(Settings):
    """The top level of the file.

    Args:
        run: The directory of everything that is written; by default runs/<name of the file>.
        data: A preprocessed directory to train on instead of the run's own. It may be a URI, as in
            s3://bucket/ads/data.
        dates: The days whose dated folders are read, as in "2026-11-01..2026-11-07".
    """

    run: PathText | None = None
    data: PathText | None = None
    simulate: dict[str, Any] | None = None
    dates: str | None = None
    logs: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any] = Field(default_factory=dict)
    split: dict[str, Any] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] = Field(default_factory=dict)
    tasks: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    warm_start: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    exporters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """A configuration file with its overrides. Each section is parsed once, when a stage first
    reads it. None needs TensorFlow, except for an architecture whose options are only in its file.
    """

    sections: Sections
    run: Path

    @property
    def data(self) -> Path:
        return self.run / "data"

    @property
    def source(self) -> Path | str:
        """The preprocessed directory to train on and to evaluate with."""
        return self.sections.data or self.data

    @property
    def model_dir(self) -> Path:
        return self.run / "model"

    @property
    def export_dir(self) -> Path:
        return self.run / "export"

    @cached_property
    def spec(self) -> Spec:
        return Spec.parse(
            {key: getattr(self.sections, key) for key in ("features", "labels", "tasks")}
        )

    @cached_property
    def simulate(self) -> SimulateConfig | None:
        section = self.sections.simulate
        return None if section is None else SimulateConfig.parse(section, "simulate")

    @property
    def logs(self) -> Path:
        """Where a simulation writes: simulate.out, or logs/ in the run's directory."""
        return Path(self.simulate.out) if self.simulate and self.simulate.out else self.run / "logs"

    @cached_property
    def preprocess(self) -> PreprocessConfig:
        sections = self.sections
        streams = {
            name: Stream.parse(stream, f"logs.{name}") for name, stream in sections.logs.items()
        }
        config = PreprocessConfig(
            logs=streams,
            spec=self.spec,
            dates=None if sections.dates is None else Dates.parse(sections.dates, "dates"),
            split=Split.parse(sections.split, "split"),
            sampling=Sampling.parse(sections.sampling, "sampling"),
            output=Output.parse(sections.output, "output"),
        )
        return check_config(config)

    @cached_property
    def model(self) -> ModelConfig:
        model = ModelConfig.parse(self.sections.model, "model")
        model.check(self.spec)
        return model

    @cached_property
    def train(self) -> TrainConfig:
        """The keys of [train] that decide what is learned."""
        train = TrainConfig.parse(self._train_keys(TrainConfig), "train")
        train.check(self.spec, wide=self.model.wide)
        return train

    @cached_property
    def run_config(self) -> RunConfig:
        """The keys of [train] that say how a training is run."""
        return RunConfig.parse(self._train_keys(RunConfig), "train")

    def _train_keys(self, settings: type[Settings]) -> dict[str, Any]:
        """The keys of [train] that belong to `settings`. Raises FunnelError for an unknown one."""
        known = [*TrainConfig.model_fields, *RunConfig.model_fields]
        for key in self.sections.train:
            if key not in known:
                raise FunnelError(f"train: unknown key '{key}': {nearest(key, known)}")
        given = self.sections.train
        return {key: value for key, value in given.items() if key in settings.model_fields}

    @cached_property
    def evaluation(self) -> EvaluationConfig:
        return EvaluationConfig.parse(self.sections.evaluation, "evaluation")

    @cached_property
    def exporters(self) -> Exporters:
        return Exporters.parse(self.sections.exporters, "exporters")

    @cached_property
    def warm_start(self) -> WarmStartConfig:
        return WarmStartConfig.parse(self.sections.warm_start, "warm_start")

    def check(self) -> None:
        """Validates every section, before anything is done with one of them.

        Raises:
            FunnelError: a section has a mistake, or sections do not fit together.
        """
        if needs_tensorflow(self.sections.model, self.sections.train):
            load_tensorflow()  # without its start-up lines
        self.resolved()
        self._check_used()
        best, stopping = self.exporters.best, self.evaluation.early_stopping
        for metric in (options.metric for options in (best, stopping) if options):
            _ = TaskMetric.parse(metric).higher
        for condition in best.provided if best else ():
            Condition.parse(condition)

    def _check_used(self) -> None:
        if self.run_config.changed("cache_gib") and "://" not in str(self.source):
            raise FunnelError(
                f"train.cache_gib = {self.run_config.cache_gib:g} bounds the cache of remote data, "
                f"and {self.source} is local: leave it out"
            )
        if self.evaluation.truth and not any(task.given for task in self.spec.tasks.values()):
            raise FunnelError(
                f"evaluation.truth = '{self.evaluation.truth}' evaluates tasks after a click on "
                "all impressions, and no task has `given`: leave it out"
            )

    def resolved(self, train: TrainConfig | None = None) -> dict[str, Any]:
        """Every setting with its defaults filled in, as the file would write it.

        Args:
            train: [train] with what suits the data, once that is known.
        """
        found: dict[str, Any] = {"run": str(self.run)}
        if self.sections.data:
            found["data"] = self.sections.data
        if self.simulate:
            found["simulate"] = _dump(self.simulate)
        if self.sections.logs:
            found |= _dump(self.preprocess, exclude={"spec"})
        found |= _dump(self.spec)
        found["model"] = _dump(self.model)
        found["train"] = _dump(train or self.train) | _dump(self.run_config)
        for name in ("evaluation", "exporters", "warm_start"):
            found[name] = _dump(getattr(self, name))
        return found

    def save(self, train: TrainConfig | None = None) -> None:
        """Writes config.toml into the run's directory."""
        files.make_directory(self.run)
        files.write_text(self.run / "config.toml", tomli_w.dumps(self.resolved(train)))


def _dump(settings: Settings, exclude: set[str] | None = None) -> dict[str, Any]:
    return settings.model_dump(exclude_none=True, mode="json", exclude=exclude)


def load(
    source: Mapping[str, Any] | Path | str, overrides: Mapping[str, Any] | Iterable[str] = ()
) -> Config:
    """Reads the configuration.

    Args:
        source: The TOML file, or its content.
        overrides: Values that replace the file's: {"train.steps": 1000}, or texts as in
            "train.steps=1000".

    Raises:
        FunnelError: The file cannot be read, is not TOML, or has an unknown section.
    """
    if isinstance(source, Mapping):
        name, content = None, plain(source)
    else:
        path = Path(files.expand_path(str(source)))
        name, content = path.stem, read_toml(path)
    override(content, overrides, list(Sections.model_fields))
    sections = Sections.parse(content)
    if name is None and not sections.run:
        raise FunnelError(
            "run is missing: without a file there is no name for the run's directory; "
            "give run = 'runs/mine'"
        )
    return Config(sections, Path(sections.run or f"runs/{name}"))
