"""What each command does: it loads the configuration and calls one function.

Imports are inside the functions, so that the first line does not wait for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import FunnelError, nearest
from funnel.cli.arguments import EXPERIMENTS, overrides
from funnel.cli.streams import emit

if TYPE_CHECKING:
    from funnel.config.config import Config

Handler = Callable[[argparse.Namespace, list[str]], Any]  # → the result, as --json prints it

NEED_LOGS = ("label", "eval", "columns", "id", "time", "group", "drop")  # options of `init`


def init(options: argparse.Namespace, beam_args: list[str]) -> Any:
    """funnel init: a configuration from logs, or an example."""
    from funnel.cli.init import write_config, write_example
    from funnel.init.init import Request

    if options.logs and options.example:
        raise FunnelError("--example writes a shipped file: leave the logs out, or --example")
    given = [flag for flag in NEED_LOGS if getattr(options, flag)]
    if given and not options.logs:
        raise FunnelError(f"--{given[0]} is for logs: name their files")
    if not options.logs:
        return write_example(options.example or "ads", options.output)
    request = Request(
        options.logs,
        options.label,
        options.eval,
        options.columns,
        options.id,
        options.time,
        options.group,
        options.drop,
        beam_args,
    )
    return write_config(request, options.output)


def first_line(options: argparse.Namespace) -> str | None:
    """What a command prints before it does anything; None for one that is done at once."""
    if options.command == "experiment":
        return f"preparing {options.name}"
    logs = " ".join(getattr(options, "logs", []))
    read = logs or getattr(options, "path", None) or getattr(options, "config", None)
    return read and f"reading {read}"


def run(options: argparse.Namespace, beam_args: list[str]) -> Any:
    """funnel run: all stages."""
    loaded = _load(options)
    from funnel.reports import summary
    from funnel.reports.run_tables import show_outcome
    from funnel.stages.run import run_all

    run_all(loaded, beam_args, force=options.force, wait=not options.no_wait)
    if not options.json:
        show_outcome(loaded.run, options.config)
    return {"run": loaded.run} | summary.read(loaded.run)


def stage(options: argparse.Namespace, beam_args: list[str]) -> Any:
    """The commands that run one stage."""
    loaded = _load(options)
    from funnel.stages.run import run_stage

    force = getattr(options, "force", False)
    outcome = run_stage(
        loaded, options.command, beam_args, from_scratch=force, wait=not options.no_wait
    )
    return {"run": loaded.run} | outcome.as_json(options.command)


def predict(options: argparse.Namespace, _: list[str]) -> Any:
    """funnel predict: scores of raw rows."""
    loaded = _load(options)
    from funnel.cli.predict import predict as score

    output = options.output or loaded.run / "predictions.parquet"
    scored = score(loaded, options.input, output, wait=not options.no_wait)
    return scored.as_json()


def inspect(options: argparse.Namespace, _: list[str]) -> Any:
    """funnel inspect: what a directory, a TFRecord or logs hold."""
    if options.check and options.rows:
        raise FunnelError("--check compares whole files: give it without --rows")
    from funnel.cli import inspect as command

    if options.check:
        command.check_files(options.path, with_tables=not options.json)
        return None
    return command.inspect(options.path, rows=options.rows, with_tables=not options.json)


def experiment(options: argparse.Namespace, _: list[str]) -> Any:
    """funnel experiment: measures what is missing and prints the results."""
    if options.name not in EXPERIMENTS:
        raise FunnelError(
            f"'{options.name}' is not an experiment: {nearest(options.name, EXPERIMENTS)}"
        )
    from funnel.console import load_tensorflow

    load_tensorflow()
    from funnel.experiments import EXPERIMENTS as KINDS
    from funnel.experiments.base import Results
    from funnel.experiments.base import run as run_experiment

    kind = KINDS[options.name]
    out = options.out or Path("runs") / "experiments" / options.name
    for flag, attribute in (("--table", "has_table"), ("--public", "public")):
        if getattr(options, flag.strip("-")) and not getattr(kind, attribute, False):
            raise FunnelError(
                f"{flag}: '{options.name}' does not have it; leave it out, or run 'defaults'"
            )
    found = kind(out, options.config, **({"public": options.public} if options.public else {}))
    summary = run_experiment(found, options.seeds, options.only)
    return found.table(Results(found), options.only) if found.has_table else summary


def completion(options: argparse.Namespace, _: list[str]) -> None:
    """funnel completion: the code that a shell evaluates."""
    from funnel.cli.completion import code

    emit(code(options.shell))


def _load(options: argparse.Namespace) -> Config:
    from funnel.config import config

    return config.load(options.config, overrides(options))


HANDLERS: dict[str, Handler] = {
    "init": init,
    "run": run,
    "simulate": stage,
    "preprocess": stage,
    "train": stage,
    "evaluate": stage,
    "export": stage,
    "report": stage,
    "inspect": inspect,
    "predict": predict,
    "experiment": experiment,
    "completion": completion,
}
