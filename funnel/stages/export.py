"""The stages that publish: export writes a SavedModel, report a page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from funnel.config.config import Config
from funnel.console import load_tensorflow
from funnel.listener import listener
from funnel.stages.requirements import data_of
from funnel.stages.stage import Outcome, inform, timed, warn


def export(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """The latest checkpoint → export/<version>, checked with the loaders that serve, in a fresh
    process. Reads the model directory alone. Its result is the Export.
    """
    load_tensorflow()
    from funnel.stages.training import trained_estimator
    from model.serving.export import STEPS

    with timed(config, "export") as done:
        steps = itertools.count(1)
        with listener().progress("exporting", "steps") as progress:
            result = trained_estimator(config).export_saved_model(
                config.export_dir, on_step=lambda: progress(next(steps), STEPS)
            )
        check = result.check
        made = {"path": str(result.path), "version": result.version, "outputs": result.outputs}
        made |= {name: result.evaluation[name] for name in ("step", "warnings")}
        ran = ", ".join(name for name, loader in check.loaders.items() if loader.not_run is None)
        difference = f"{check.max_abs_difference:.1g}"
        line = f"{ran}: equal to the checkpoint within {difference} → {result.path}"
        done(line, result, parity=check.summary(), export=made)
    for name, loader in check.loaders.items():
        if loader.not_run is not None:
            warn(f"the loader {name} was not run: {loader.not_run}")
    for line in result.evaluation["warnings"]:
        warn(line)
    if result.evaluation["evaluation"] is None:
        inform(
            f"step {result.evaluation['step']:,} was not evaluated, so the export has no metrics "
            "in its manifest; run `funnel evaluate` before `funnel export`"
        )
    return done


def report(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """summary.json, statistics and metrics → report.html. Its result is the path."""
    from funnel.reports.report import write_report

    with timed(config, "report") as done:
        page = write_report(config.run, data_of(config))
        done(f"→ {page}", page, report=str(page))
    return done
