"""STAGES: each stage's function, what it depends on, and the file that shows that it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import FunnelError
from funnel.config.config import Config
from funnel.console import load_tensorflow
from funnel.reports import summary
from funnel.stages.evaluate import evaluate
from funnel.stages.export import export, report
from funnel.stages.logs import preprocess, simulate
from funnel.stages.requirements import (
    require_data_and_model,
    require_evaluation,
    require_model,
)
from funnel.stages.stage import Outcome
from funnel.stages.train import train

if TYPE_CHECKING:
    from model.training.config import TrainConfig

# One mode may be written in several ways: only the estimator knows which a run was trained in.
MODE = ("precision", "xla")


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        run: Does the work.
        inputs: What it depends on besides the stages before it. A change starts it over.
        output: The file that shows that it was done.
        resumes_with: What it depends on too, but a change of which lets it resume.
        requires: Raises FunnelError where the stages before it have not left what it needs.
    """

    run: Callable[..., Outcome]
    inputs: Callable[[Config], Any]
    output: Callable[[Config], Path]
    resumes_with: Callable[[Config], Any] = lambda config: None
    requires: Callable[[Config], None] = lambda config: None


def with_defaults_of_the_data(config: Config) -> TrainConfig:
    """[train] with what suits the data: writing that out changes nothing."""
    from funnel.stages.training import suited

    try:
        return suited(config).train
    except FunnelError:  # no data yet, or no run to start from: the stage itself reports that
        return config.train


def _preprocess_inputs(config: Config) -> Any:
    from pipeline.sources.files import find_sources, find_tables
    from pipeline.sources.vocabularies import read_vocabularies

    settings = config.preprocess
    declared = settings.model_dump(mode="json", exclude={"spec"})
    declared_lists = settings.spec.vocabularies
    lists = [
        (declared_lists[name].file, "".join(f"{value}\n" for value in values))
        for name, values in read_vocabularies(settings.spec).items()
    ]
    sources = [asdict(source) for source in find_sources(settings) + find_tables(settings)]
    return [declared, settings.spec.fingerprint, lists, sources]


def _train_inputs(config: Config) -> Any:
    load_tensorflow()
    train_config = with_defaults_of_the_data(config)
    settings = train_config.model_dump(mode="json", exclude={"steps", "epochs", *MODE})
    sections = [config.spec, config.model, config.warm_start]
    dumped = [section.model_dump(mode="json") for section in sections]
    return [str(config.source), settings, *dumped]


def _train_resumes_with(config: Config) -> Any:
    train_config = with_defaults_of_the_data(config)
    return [
        train_config.model_dump(mode="json", include={"steps", "epochs", *MODE}),
        config.exporters.model_dump(mode="json"),
        config.evaluation.model_dump(mode="json", exclude={"truth"}),
    ]


def _exported(config: Config) -> Path:
    return Path(summary.read(config.run).get("export", {}).get("path", config.export_dir / "none"))


STAGES = {
    "simulate": Stage(
        simulate,
        lambda c: c.simulate and c.simulate.model_dump(mode="json"),
        lambda c: c.logs / "truth.parquet",
    ),
    "preprocess": Stage(preprocess, _preprocess_inputs, lambda c: c.data / "manifest.json"),
    "train": Stage(
        train,
        _train_inputs,
        lambda c: c.model_dir / "checkpoints" / "checkpoint",
        _train_resumes_with,
    ),
    "evaluate": Stage(
        evaluate,
        lambda c: c.evaluation.model_dump(mode="json"),
        lambda c: c.model_dir / "reliability.json",
        requires=require_data_and_model,
    ),
    "export": Stage(export, lambda c: None, _exported, requires=require_model),
    "report": Stage(
        report, lambda c: None, lambda c: c.run / "report.html", requires=require_evaluation
    ),
}
