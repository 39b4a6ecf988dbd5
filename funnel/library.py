"""What each command does, as a function: a configuration in, results out, nothing printed.

Each runs the command's own stage, so files, summary.json and what `funnel run` skips are the same.
Warnings go to the logger `funnel`.

One process at a time does each in a run's directory. Another one waits; with `wait=False` it raises
FunnelError, which names the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import FunnelError
from funnel.config.config import Config, load
from funnel.dataset import Dataset
from funnel.listener import logging_as_it_is
from funnel.stages.run import run_all, run_stage
from model.training.workers import worker

if TYPE_CHECKING:
    from model.estimator.session import Trained
    from model.evaluation.conditions import Metrics
    from model.serving.export import Export
    from model.training.progress import Callback

Source = Config | Mapping[str, Any] | Path | str  # a configuration, its content or its file


def load_config(
    source: Mapping[str, Any] | Path | str, overrides: Mapping[str, Any] | Iterable[str] = ()
) -> Config:
    """Reads a configuration. Its sections are validated when they are first read.

    Args:
        source: The TOML file, or its content as a dict, in which `run` names the run's directory.
        overrides: Values that replace the file's, by "section.key".

    Returns:
        The configuration, with `run`, `spec` and the other sections as attributes.

    Raises:
        FunnelError: The file cannot be read, is not TOML, or has an unknown section.

    Example:
        config = funnel.load_config("my.toml", {"train.epochs": 2, "model.sharing": "ple"})
    """
    return load(source, overrides)


def simulate(config: Source, *, wait: bool = True) -> dict[str, Any]:
    """Writes the event logs of [simulate].

    Args:
        config: The configuration.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        simulation.json: the exact counts of each stream.

    Raises:
        FunnelError: The configuration has no such section, or the directory holds something else.

    Example:
        funnel.simulate(config)["impressions"]["rows"]
    """
    found: dict[str, Any] = _run("simulate", config, wait=wait)
    return found


def preprocess(config: Source, *, beam_args: Sequence[str] = (), wait: bool = True) -> Dataset:
    """Logs → TFRecords, in the directory `data` of the run.

    Args:
        config: The configuration.
        beam_args: Beam's own options; without --runner the job runs in this process.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        The preprocessed directory. `manifest["rows"]` accounts for every row,
        `manifest["warnings"]` holds what to act on.

    Raises:
        FunnelError: The configuration, the logs or Beam's options cannot be used.

    Example:
        data = funnel.preprocess("my.toml")
    """
    loaded = _loaded(config)
    _run("preprocess", loaded, beam_args=beam_args, wait=wait)
    return Dataset(loaded.data)


def train(
    config: Source,
    *,
    from_scratch: bool = False,
    callbacks: Sequence[Callback] = (),
    wait: bool = True,
) -> Trained:
    """Trains from the latest checkpoint if there is one, with the evaluations and exports that the
    configuration declares.

    Args:
        config: The configuration.
        from_scratch: Replace the checkpoints that are there.
        callbacks: Called at each report with a Progress; one that returns True ends the training.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        The step reached, why training ended, and the last report.

    Raises:
        FunnelError: There is no data, the checkpoints belong to another model, or a loss is not
            finite.
        Interrupted: After SIGTERM or SIGHUP, with a checkpoint to resume from.

    Example:
        trained = funnel.train("my.toml", callbacks=[lambda progress: progress.step >= 1000])
    """
    with logging_as_it_is():
        outcome = run_stage(
            _loaded(config), "train", from_scratch=from_scratch, callbacks=callbacks, wait=wait
        )
    found: Trained = outcome.result
    return found


def evaluate(config: Source, *, wait: bool = True) -> Metrics:
    """Metrics of the latest checkpoint on the eval split.

    Args:
        config: The configuration.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        {task or joint: {metric: value}}.

    Raises:
        FunnelError: There is no data or no checkpoint.

    Example:
        funnel.evaluate("my.toml")["ctr"]["auc"]
    """
    found: Metrics = _run("evaluate", config, wait=wait)
    return found


def export(config: Source, *, wait: bool = True) -> Export:
    """The latest checkpoint as a SavedModel, published if the loaders that serve score it like the
    checkpoint.

    Args:
        config: The configuration.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        Its path, version, outputs and check.

    Raises:
        FunnelError: There is no checkpoint, or a loader fails or differs.

    Example:
        funnel.export("my.toml").path
    """
    found: Export = _run("export", config, wait=wait)
    return found


def report(config: Source, *, wait: bool = True) -> Path:
    """Rows, metrics and plots of the run as a page.

    Args:
        config: The configuration.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        The path of report.html.

    Raises:
        FunnelError: The run has not been evaluated yet.

    Example:
        webbrowser.open(funnel.report("my.toml").as_uri())
    """
    found: Path = _run("report", config, wait=wait)
    return found


def run(
    config: Source, *, beam_args: Sequence[str] = (), force: bool = False, wait: bool = True
) -> Config:
    """Every stage whose inputs or configuration have changed since it was last done.

    Args:
        config: The configuration.
        beam_args: Beam's own options.
        force: Run every stage, and train from scratch.
        wait: Whether to wait for another process that does the same in the run's directory.

    Returns:
        The configuration, with which `evaluate`, `score` and `Dataset` go on.

    Raises:
        FunnelError: As the stages.

    Example:
        config = funnel.run("my.toml")
    """
    loaded = _loaded(config)
    with logging_as_it_is():
        run_all(loaded, beam_args, force=force, wait=wait)
    return loaded


def _loaded(config: Source) -> Config:
    return config if isinstance(config, Config) else load(config)


def _run(stage: str, config: Source, beam_args: Sequence[str] = (), *, wait: bool) -> Any:
    """What a stage returns. Only worker 0 runs stages other than train."""
    if worker():
        raise FunnelError(
            f"{stage}: TF_CONFIG makes this process worker {worker()}, and only worker 0 runs it; "
            "call funnel.train alone on the others"
        )
    with logging_as_it_is():
        return run_stage(_loaded(config), stage, beam_args, wait=wait).result
