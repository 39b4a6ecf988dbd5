"""What each command does: it loads the configuration and calls one function.

Imports are inside the functions, so that `funnel --help` does not wait for TensorFlow and Beam.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from features.errors import FunnelError, nearest
from funnel.cli.arguments import overrides


def run(options: argparse.Namespace, beam_args: list[str]) -> None:
    """funnel run: all stages."""
    from funnel.config import config
    from funnel.reports.run_tables import show_outcome
    from funnel.stages.run import run_all

    loaded = config.load(options.config, overrides(options))
    run_all(loaded, beam_args, force=options.force)
    show_outcome(loaded.run, options.config)


def stage(options: argparse.Namespace, beam_args: list[str]) -> None:
    """The commands that run one stage."""
    from funnel.config import config
    from funnel.stages.run import run_stage

    loaded = config.load(options.config, overrides(options))
    force = getattr(options, "force", False)
    run_stage(loaded, options.command, beam_args, from_scratch=force)


def predict(options: argparse.Namespace, _: list[str]) -> None:
    """funnel predict: scores of raw rows."""
    from funnel.cli.predict import predict as score
    from funnel.config import config

    loaded = config.load(options.config, overrides(options))
    score(loaded, options.input, options.output or loaded.run / "predictions.parquet")


def inspect(options: argparse.Namespace, _: list[str]) -> None:
    """funnel inspect: what a directory, a TFRecord or logs hold."""
    from funnel.cli import inspect as command

    if options.check and options.rows:
        raise FunnelError("--check compares whole files: give it without --rows")
    if options.check:
        command.check_files(options.path, as_json=options.json)
    else:
        command.inspect(options.path, rows=options.rows, as_json=options.json)


def experiment(options: argparse.Namespace, _: list[str]) -> None:
    """funnel experiment: measures what is missing and prints the results."""
    from funnel.console import load_tensorflow

    load_tensorflow()
    from funnel.experiments import EXPERIMENTS
    from funnel.experiments.base import Results
    from funnel.experiments.base import run as run_experiment

    if options.name not in EXPERIMENTS:
        raise FunnelError(
            f"'{options.name}' is not an experiment: {nearest(options.name, EXPERIMENTS)}"
        )
    kind = EXPERIMENTS[options.name]
    out = options.out or Path("runs") / "experiments" / options.name
    for flag, attribute in (("--table", "has_table"), ("--public", "public")):
        if getattr(options, flag.strip("-")) and not getattr(kind, attribute, False):
            raise FunnelError(
                f"{flag}: '{options.name}' does not have it; leave it out, or run 'defaults'"
            )
    found = kind(out, options.config, **({"public": options.public} if options.public else {}))
    if not options.table:
        run_experiment(found, options.seeds, options.only)
        return
    with redirect_stdout(sys.stderr):  # only the JSON goes to stdout
        run_experiment(found, options.seeds, options.only)
    table = found.table(Results(found), options.only)
    print(json.dumps(table, indent=1, ensure_ascii=False))


HANDLERS: dict[str, Callable[[argparse.Namespace, list[str]], None]] = {
    "simulate": stage,
    "preprocess": stage,
    "train": stage,
    "evaluate": stage,
    "export": stage,
    "report": stage,
    "predict": predict,
    "inspect": inspect,
    "experiment": experiment,
    "run": run,
}
