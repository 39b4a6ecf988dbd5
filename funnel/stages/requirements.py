"""What a stage needs of the stages before it. Without that an error names the command to run, and
nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from features.errors import FunnelError
from features.manifest import read_manifest
from funnel.config.config import Config
from funnel.reports import summary


def require_model(config: Config) -> None:
    """Raises FunnelError where nothing was trained."""
    if not (config.model_dir / "model.json").exists():
        raise FunnelError(f"{config.model_dir}: holds no checkpoint; run `funnel train` first")


def require_data_and_model(config: Config) -> None:
    """Raises FunnelError where nothing was preprocessed or trained. Remote data are looked for by
    the stage itself.
    """
    if "://" not in str(config.source):
        read_manifest(Path(config.source))
    require_model(config)


def require_evaluation(config: Config) -> None:
    """Raises FunnelError where a report would lack the evaluation or the data that it shows."""
    if "evaluation" not in summary.read(config.run):
        made = {"preprocess": data_of(config) / "manifest.json"}
        made |= {"train": config.model_dir / "model.json"}
        lacking = " and ".join(f"`funnel {stage}`" for stage, p in made.items() if not p.exists())
        after = f", after {lacking}" if lacking else ""
        raise FunnelError(
            f"{config.run}: has no evaluation to report; run `funnel evaluate` first{after}"
        )
    for path in (data_of(config) / name for name in ("manifest.json", "statistics.json")):
        if not path.exists():
            raise FunnelError(
                f"{path}: is missing, and the report shows what it holds; copy it from the "
                "preprocessed directory, or run `funnel preprocess` first"
            )
    curves = config.model_dir / "reliability.json"
    if not curves.exists():
        raise FunnelError(f"{curves}: is missing, and the report draws it; run `funnel evaluate`")


def data_of(config: Config) -> Path:
    """The preprocessed directory that a report shows: a remote one has its copy in the run's."""
    return Path(config.source) if Path(config.source).exists() else config.data
