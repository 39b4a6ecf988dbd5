"""The stages that publish: export writes a SavedModel, report a page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from funnel.config.config import Config
from funnel.console import load_tensorflow, progress_bar
from funnel.stages.stage import Outcome, timed, warn


def export(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """The latest checkpoint → export/<version>, checked with the loaders that serve, in a fresh
    process. Reads the model directory alone.
    """
    load_tensorflow()
    from funnel.stages.training import trained_estimator
    from model.serving.export import STEPS

    with timed(config, "export") as done:
        steps = itertools.count(1)
        with progress_bar("exporting", "steps") as progress:
            result = trained_estimator(config).export_saved_model(
                config.export_dir, on_step=lambda: progress(next(steps), STEPS)
            )
        check = result.check
        made = {"path": str(result.path), "version": result.version, "outputs": result.outputs}
        ran = ", ".join(name for name, loader in check.loaders.items() if loader.not_run is None)
        difference = f"{check.max_abs_difference:.1g}"
        line = f"{ran}: equal to the checkpoint within {difference} → {result.path}"
        done(line, parity=check.summary(), export=made)
    for name, loader in check.loaders.items():
        if loader.not_run is not None:
            warn(f"the loader {name} was not run: {loader.not_run}")
    return done


def report(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """summary.json, statistics and metrics → report.html."""
    from funnel.reports.report import write_report

    with timed(config, "report") as done:
        path = write_report(config.run)
        done(f"→ {path}", report=str(path))
    return done
