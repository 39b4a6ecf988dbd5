"""One TOML file → the settings of every stage. Each stage validates the sections that it reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import Field

from features.errors import FunnelError, nearest
from features.settings import Settings
from features.spec import Spec
from funnel.config.sections import EvaluationConfig, Exporters, WarmStartConfig
from pipeline.checks import check_config
from pipeline.config import Dates, Output, PreprocessConfig, Sampling, Split, Stream
from pipeline.simulation.simulate import SimulateConfig

if TYPE_CHECKING:
    from model.config import ModelConfig
    from model.training.config import RunConfig, TrainConfig


class Sections(Settings):
    """The top level of the file. `run` is the directory of everything that is made (default:
    runs/<name of the file>).

    `data` is a preprocessed directory to train on in the place of the run's own, which may be a
    URI, as in s3://bucket/ads/data.

    `dates`, as in "2026-11-01..2026-11-07", are the days whose dated folders are read.
    """

    run: str | None = None
    data: str | None = None
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
    """A configuration file with its overrides. Parts are validated when first asked for; [model]
    needs TensorFlow.
    """

    sections: Sections
    run: Path

    @property
    def data(self) -> Path:
        return self.run / "data"

    @property
    def source(self) -> Path | str:
        """What is trained on and evaluated with."""
        return self.sections.data or self.data

    @property
    def model_dir(self) -> Path:
        return self.run / "model"

    @property
    def export_dir(self) -> Path:
        return self.run / "export"

    @property
    def spec(self) -> Spec:
        return Spec.parse(
            {key: getattr(self.sections, key) for key in ("features", "labels", "tasks")}
        )

    @property
    def simulate(self) -> SimulateConfig | None:
        return (
            None
            if self.sections.simulate is None
            else SimulateConfig.parse(self.sections.simulate, "simulate")
        )

    @property
    def logs(self) -> Path:
        """Where a simulation writes: simulate.out, or logs/ in the run's directory."""
        return Path(self.simulate.out) if self.simulate and self.simulate.out else self.run / "logs"

    @property
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

    @property
    def model(self) -> ModelConfig:
        from model.config import ModelConfig

        model = ModelConfig.parse(self.sections.model, "model")
        model.check(self.spec)
        return model

    @property
    def train(self) -> TrainConfig:
        """What of [train] decides the course of a training."""
        from model.training.config import TrainConfig

        train = TrainConfig.parse(self._train_part(TrainConfig), "train")
        train.check(self.spec)
        return train

    @property
    def run_config(self) -> RunConfig:
        """What of [train] says how it is run."""
        from model.training.config import RunConfig

        return RunConfig.parse(self._train_part(RunConfig), "train")

    def _train_part(self, part: type[Settings]) -> dict[str, Any]:
        """The keys of [train] that are of that part. Raises FunnelError for one that is of none."""
        from model.training.config import RunConfig, TrainConfig

        known = [*TrainConfig.model_fields, *RunConfig.model_fields]
        for key in self.sections.train:
            if key not in known:
                raise FunnelError(f"train: unknown key '{key}': {nearest(key, known)}")
        return {
            key: value for key, value in self.sections.train.items() if key in part.model_fields
        }

    @property
    def evaluation(self) -> EvaluationConfig:
        return EvaluationConfig.parse(self.sections.evaluation, "evaluation")

    @property
    def exporters(self) -> Exporters:
        return Exporters.parse(self.sections.exporters, "exporters")

    @property
    def warm_start(self) -> WarmStartConfig:
        return WarmStartConfig.parse(self.sections.warm_start, "warm_start")

    def resolved(self, train: TrainConfig | None = None) -> dict[str, Any]:
        """Every setting with its defaults filled in, as the file would write it; `train` with what
        suits the data, once that is known.
        """
        preprocess = (
            self.preprocess.model_dump(exclude_none=True, mode="json", exclude={"spec"})
            if self.sections.logs
            else {}
        )
        spec = self.spec.model_dump(exclude_none=True, mode="json")
        simulate = (
            {"simulate": self.simulate.model_dump(exclude_none=True, mode="json")}
            if self.simulate
            else {}
        )
        rest = {"model": self.model, "train": train or self.train, "evaluation": self.evaluation}
        rest |= {"exporters": self.exporters, "warm_start": self.warm_start}
        dumped = {
            name: part.model_dump(exclude_none=True, mode="json") for name, part in rest.items()
        }
        dumped["train"] |= self.run_config.model_dump(exclude_none=True, mode="json")
        source = {"data": self.sections.data} if self.sections.data else {}
        return {"run": str(self.run)} | source | simulate | preprocess | spec | dumped

    def save(self, train: TrainConfig | None = None) -> None:
        """Writes config.toml into the run's directory."""
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / "config.toml").write_text(tomli_w.dumps(self.resolved(train)))


def load(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Reads the file and applies `section.key=value` overrides. Raises FunnelError for what TOML or
    the top level refuse.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise FunnelError(
            f"{path}: cannot be read ({error.strerror}); copy examples/ads.toml to begin"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FunnelError(f"{path}: is not TOML: {error}") from None
    for override in overrides:
        _override(content, override)
    sections = Sections.parse(content)
    return Config(sections, Path(sections.run or Path("runs") / path.stem))


def _override(content: dict[str, Any], override: str) -> None:
    """Sets content[section][key] = value; the value is TOML, or a bare text. A date is left as
    text, which settings of times read too.
    """
    key, equals, text = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not all([*parents, last]):
        raise FunnelError(f"--set {override}: must be section.key=value, as in train.steps=1000")
    at = content
    for depth, parent in enumerate(parents):
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise FunnelError(
                f"--set {override}: {'.'.join(parents[: depth + 1])} is {at!r}, which holds no keys"
            )
    if not parents and last not in Sections.model_fields:
        raise FunnelError(
            f"--set {override}: unknown section '{last}': {nearest(last, Sections.model_fields)}"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    at[last] = text.strip() if isinstance(value, date | time) else value
