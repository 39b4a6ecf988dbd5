"""The command line: parses, calls, prints."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NoReturn

from features.errors import FunnelError, nearest
from funnel.cli import huge_pages
from funnel.stages.interrupted import Interrupted

COMMANDS = {
    "simulate": (
        "write event logs whose truth is known",
        "funnel simulate examples/demo.toml --set simulate.impressions=1_000_000",
    ),
    "preprocess": (
        "logs → TFRecords",
        "funnel preprocess my.toml -- --direct_num_workers=2 --direct_running_mode=multi_processing",
    ),
    "train": (
        "TFRecords → checkpoints; resumes where it stopped",
        "funnel train my.toml --set train.epochs=3 --force",
    ),
    "evaluate": ("metrics of the latest checkpoint on the eval split", "funnel evaluate my.toml"),
    "export": (
        "latest checkpoint → SavedModel, checked in a fresh process",
        "funnel export my.toml",
    ),
    "report": ("metrics, rows and plots of a run → report.html", "funnel report my.toml"),
    "predict": (
        "score raw rows with the latest checkpoint",
        "funnel predict my.toml --input new.parquet --output scores.parquet",
    ),
    "inspect": ("show what a run's directory holds", "funnel inspect runs/demo --rows 5"),
    "experiment": (
        "a paper's claim put to the test; measures only what is missing",
        "funnel experiment mmoe-synthetic --seeds 10",
    ),
    "run": (
        "all stages, skipping those that have not changed",
        "funnel run my.toml --set model.sharing=ple",
    ),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(
        prog="funnel",
        description="From impression, click and conversion logs to a multi-task ranking model that TF Serving answers with.",
        epilog="example: funnel run examples/demo.toml",
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, (what, example) in COMMANDS.items():
        command = commands.add_parser(
            name, help=what, description=what, epilog=f"example: {example}"
        )
        command.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error",
        )
        if name == "inspect":
            command.add_argument("run", type=Path, help="a run's directory, as in runs/demo")
            command.add_argument(
                "--rows",
                type=_count,
                metavar="N",
                help="show the first N training examples by feature name instead",
            )
            continue
        if name == "experiment":
            _add_experiment(command)
            continue
        command.add_argument("config", type=Path, help="the configuration file (TOML)")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="section.key=value",
            help="override one value; may be repeated",
        )
        if name in ("run", "train"):
            command.add_argument(
                "--force", action="store_true", help="do it anew, whatever is there"
            )
        if name in ("run", "train"):
            command.add_argument(
                "--warm-start",
                metavar="RUN",
                help="begin with another run's latest checkpoint, as in runs/yesterday",
            )
            command.add_argument(
                "--refresh-statistics",
                action="store_true",
                help="with --warm-start: moments and vocabularies of the new rows",
            )
        if name in ("run", "preprocess"):
            command.add_argument(
                "--dates",
                metavar="FIRST..LAST",
                help="read dated folders of these days, as in 2026-11-01..2026-11-07",
            )
        if name == "predict":
            command.add_argument(
                "--input",
                nargs="+",
                help="files or globs of raw rows (default: the logs of the configuration)",
            )
            command.add_argument(
                "--output",
                type=Path,
                help="a Parquet file (default: predictions.parquet in the run's directory)",
            )
    return top


def _add_experiment(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="mmoe-synthetic, esmm-bias, census or defaults")
    command.add_argument(
        "--seeds",
        type=_count,
        default=5,
        metavar="N",
        help="measure every setting with the seeds 1 … N (default: 5)",
    )
    command.add_argument(
        "--out", type=Path, help="where its results are and go (default: runs/experiments/<name>)"
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="some settings alone, as in: census --only mmoe ple",
    )
    command.add_argument(
        "--config",
        type=Path,
        help="another configuration (default: examples/demo.toml for esmm-bias, census.toml for census)",
    )
    command.add_argument(
        "--table", action="store_true", help="print the results as JSON alone (defaults)"
    )
    command.add_argument(
        "--public",
        type=Path,
        metavar="FOLDER",
        help="the public data sets (defaults; ../shared/public unless given)",
    )


def _count(text: str) -> int:
    """Raises ArgumentTypeError for anything but a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def program() -> NoReturn:
    """The `funnel` command: `main`, and its code as the process's."""
    huge_pages.ask()
    code = main()
    if (
        "tensorflow_io" in sys.modules
    ):  # whose S3 client, once used, aborts the process where Python unloads it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, 1 for a fault of the program, 2 for what the user can mend, 130
    when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own, beam_args = _split(arguments)
    options = parser().parse_args(own)
    if beam_args and options.command not in ("preprocess", "run"):
        parser().error(f"arguments after -- go to Beam, which `{options.command}` does not use")
    try:
        _handler(options.command)(options, beam_args)
    except FunnelError as error:
        return _fail(error, 2, str(error), debug=options.debug)
    except Interrupted as interrupted:
        where = (
            "before its first step" if interrupted.step is None else f"at step {interrupted.step}"
        )
        print(
            f"training was ended {where} by a signal; to go on: {_command(arguments, begun=interrupted.step is not None)}"
        )
        return 0
    except KeyboardInterrupt:
        return _fail(
            None,
            130,
            "interrupted; the same command goes on from the last checkpoint or finished stage",
            debug=False,
        )
    except Exception as error:
        last = str(error).strip().splitlines()[-1] if str(error).strip() else ""
        return _fail(
            error, 1, f"{type(error).__name__}: {last} (--debug shows where)", debug=options.debug
        )
    return 0


def _command(arguments: list[str], *, begun: bool) -> str:
    """How to go on: what was called, but not anew a second time."""
    return shlex.join(["funnel", *(a for a in arguments if not (begun and a == "--force"))])


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Arguments before and after the first bare --."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _fail(error: BaseException | None, code: int, message: str, *, debug: bool) -> int:
    from funnel.console import errors

    if debug and error is not None:
        errors.print_exception()
    errors.print("[red]error:[/red]", end=" ")
    errors.print(message, markup=False)
    return code


def _handler(command: str) -> Callable[[argparse.Namespace, list[str]], None]:
    if command == "inspect":
        return _inspect
    if command == "predict":
        return _predict
    if command == "experiment":
        return _experiment
    return _run if command == "run" else _stage


def _overrides(options: argparse.Namespace) -> list[str]:
    given = {
        "dates": getattr(options, "dates", None),
        "warm_start.run": getattr(options, "warm_start", None),
    }
    texts = [
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value
    ]  # a string of JSON is one of TOML
    refresh = (
        ["warm_start.refresh_statistics=true"]
        if getattr(options, "refresh_statistics", False)
        else []
    )
    return options.set + texts + refresh


def _run(options: argparse.Namespace, beam_args: list[str]) -> None:
    from funnel.cli import inspect
    from funnel.config import config
    from funnel.stages import run as stages

    loaded = config.load(options.config, _overrides(options))
    stages.run_all(loaded, beam_args, force=options.force)
    inspect.show_outcome(loaded.run, options.config)


def _stage(options: argparse.Namespace, beam_args: list[str]) -> None:
    from funnel.config import config
    from funnel.stages import run as stages

    loaded = config.load(options.config, _overrides(options))
    stages.run_stage(loaded, options.command, beam_args, anew=getattr(options, "force", False))


def _predict(options: argparse.Namespace, _: list[str]) -> None:
    from funnel.cli import predict
    from funnel.config import config

    loaded = config.load(options.config, _overrides(options))
    predict.predict(loaded, options.input, options.output or loaded.run / "predictions.parquet")


def _inspect(options: argparse.Namespace, _: list[str]) -> None:
    from funnel.cli import inspect

    if options.rows:
        inspect.show_examples(options.run, options.rows)
    else:
        inspect.show(options.run)


def _experiment(options: argparse.Namespace, _: list[str]) -> None:
    from funnel.console import load_tensorflow

    load_tensorflow()
    from funnel.experiments import EXPERIMENTS
    from funnel.experiments.base import Results, run

    if options.name not in EXPERIMENTS:
        raise FunnelError(
            f"'{options.name}' is no experiment: {nearest(options.name, EXPERIMENTS)}"
        )
    kind, out = (
        EXPERIMENTS[options.name],
        options.out or Path("runs") / "experiments" / options.name,
    )
    for flag, name in (("--table", "table"), ("--public", "public")):
        if getattr(options, name) and not hasattr(kind, name):
            raise FunnelError(
                f"{flag}: '{options.name}' does not have it; leave it out, or run 'defaults'"
            )
    experiment = kind(out, options.config, **({"public": options.public} if options.public else {}))
    if not options.table:
        run(experiment, options.seeds, options.only)
        return
    with redirect_stdout(sys.stderr):  # JSON alone goes to stdout
        run(experiment, options.seeds, options.only)
    print(
        json.dumps(
            experiment.table(Results(experiment), options.only), indent=1, ensure_ascii=False
        )
    )
