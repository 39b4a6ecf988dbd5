"""The stages on logs: simulate writes them, preprocess reads them."""

from __future__ import annotations

from collections.abc import Sequence

from features.errors import FunnelError
from funnel.config.config import Config
from funnel.listener import listener
from funnel.stages.stage import Outcome, inform, timed, warn


def simulate(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """Writes the logs of [simulate]. Its result is simulation.json."""
    from pipeline.simulation.simulate import simulate as write_logs

    if config.simulate is None:
        raise FunnelError(
            "the configuration has no [simulate] section, which says what to simulate: add one, "
            "as in funnel/examples/demo.toml"
        )
    with (
        timed(config, "simulate") as done,
        listener().progress("simulating", "rows") as progress,
    ):
        counts = write_logs(config.simulate, config.logs, on_progress=progress, overwrite=True)
        rows = ", ".join(
            f"{counts[stream]['rows']:,} {stream}"
            for stream in ("impressions", "clicks", "conversions")
        )
        done(f"{rows} → {config.logs}", counts, simulation=counts)
    return done


def preprocess(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """Logs → data/. Its result is the manifest."""
    from pipeline.job import preprocess as run_job

    settings = config.preprocess
    with (
        timed(config, "preprocess") as done,
        listener().progress("preprocessing", "files") as progress,
    ):
        manifest = run_job(settings, config.data, beam_args, progress, inform)
        rows = manifest["rows"]
        done(
            f"{rows['examples_written']:,} examples of {rows['impressions_read']:,} impressions "
            f"→ {config.data}",
            manifest,
            rows=rows,
        )
    for warning in manifest["warnings"]:
        warn(warning)
    return done
