"""The stages that publish: export writes a SavedModel, report a page."""

from __future__ import annotations

from collections.abc import Sequence

from funnel.config.config import Config
from funnel.console import load_tensorflow
from funnel.stages.stage import timed, warn


def export(config: Config, beam_args: Sequence[str] = ()) -> None:
    """The latest checkpoint → export/<version>, checked with the loaders that serve, in a fresh
    process. Reads the model directory alone.
    """
    load_tensorflow()
    from funnel.stages.training import trained_estimator

    with timed(config, "export") as done:
        result = trained_estimator(config, to_export=True).export_saved_model(config.export_dir)
        check = result.check
        made = {"path": str(result.path), "version": result.version, "outputs": result.outputs}
        ran = ", ".join(name for name, loader in check.loaders.items() if loader.not_run is None)
        difference = f"{check.max_abs_difference:.1g}"
        line = f"{ran}: equal to the checkpoint within {difference} → {result.path}"
        done(line, parity=check.summary(), export=made)
    for name, loader in check.loaders.items():
        if loader.not_run is not None:
            warn(f"the loader {name} was not run: {loader.not_run}")


def report(config: Config, beam_args: Sequence[str] = ()) -> None:
    """summary.json, statistics and metrics → report.html."""
    from funnel.reports.report import write_report

    with timed(config, "report") as done:
        done(f"→ {write_report(config.run)}")
