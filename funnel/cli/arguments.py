"""The arguments of the command line."""

from __future__ import annotations

import argparse
import json

from funnel.cli.parsing import Parser, named_path, path, path_text
from funnel.version import __version__

COMMANDS = {  # in the order of use: (what it does, an example)
    "init": (
        "write a configuration from the logs themselves",
        "funnel init logs/impressions logs/clicks logs/conversions --output my.toml",
    ),
    "run": (
        "all stages; unchanged ones are skipped",
        "funnel run my.toml --set model.sharing=ple",
    ),
    "simulate": (
        "write event logs with known true rates",
        "funnel simulate my.toml --set simulate.impressions=100_000",
    ),
    "preprocess": (
        "logs → TFRecords",
        "funnel preprocess my.toml -- --direct_num_workers=2 "
        "--direct_running_mode=multi_processing",
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
    "inspect": ("show what a run, a TFRecord or a log holds", "funnel inspect runs/my --rows 5"),
    "predict": (
        "score raw rows with the latest checkpoint",
        "funnel predict my.toml --output scores.parquet",
    ),
    "experiment": (
        "test a paper's claim; measures only what is missing",
        "funnel experiment mmoe-synthetic --seeds 10",
    ),
    "completion": (
        "print the code that completes commands in a shell",
        "funnel completion bash >> ~/.bashrc",
    ),
}
STAGES = ("simulate", "preprocess", "train", "evaluate", "export", "report")
GROUPS = {
    "a configuration": ("init",),
    "every stage": ("run",),
    "one stage, in this order": STAGES,
    "results": ("inspect", "predict"),
    "claims put to the test": ("experiment",),
    "shell": ("completion",),
}
EXPERIMENTS = ("mmoe-synthetic", "esmm-bias", "census", "defaults")
SHELLS = ("bash", "zsh", "fish")
WITHOUT_JSON = ("completion",)


def parser() -> Parser:
    """The arguments of every command."""
    top = Parser(
        prog="funnel",
        usage="funnel [--version] [--debug] command …",
        description="From impression, click and conversion logs to a multi-task ranking model\n"
        f"for TF Serving.\n\n{_commands_in_groups()}",
        epilog="Each command has its own --help, with an example.\n"
        "example: funnel run funnel/examples/demo.toml",
    )
    top.add_argument("--version", action="version", version=f"funnel {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(
        dest="command", required=True, metavar="command", prog="funnel", help=argparse.SUPPRESS
    )
    for name, (what, example) in COMMANDS.items():
        command = commands.add_parser(
            name, help=what, description=what, epilog=f"example: {example}"
        )
        _add_common(command, name)
        if name == "init":
            _add_init(command)
        elif name == "inspect":
            _add_inspect(command)
        elif name == "experiment":
            _add_experiment(command)
        elif name == "completion":
            command.add_argument("shell", choices=SHELLS, help="the shell that you type into")
        else:
            _add_stage(command, name)
    return top


def _commands_in_groups() -> str:
    lines = []
    for title, names in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<12}{COMMANDS[name][0]}" for name in names)]
    return "\n".join(lines)


def _add_common(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of an error",
    )
    command.add_argument("--quiet", action="store_true", help="print errors alone")
    if name not in WITHOUT_JSON:
        command.add_argument(
            "--json",
            action="store_true",
            help="print the result as JSON to stdout, and all else to stderr",
        )


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Arguments before and after the first bare --.

    Example:
        >>> split(["run", "my.toml", "--", "--runner=PrismRunner"])
        (['run', 'my.toml'], ['--runner=PrismRunner'])
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def overrides(options: argparse.Namespace) -> list[str]:
    """The values that replace the configuration file's: --set, and flags that stand for one."""
    given = {
        "dates": getattr(options, "dates", None),
        "warm_start.run": getattr(options, "warm_start", None),
    }
    # A string of JSON is also one of TOML.
    texts = [f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in given.items() if v]
    if getattr(options, "refresh_statistics", False):
        texts.append("warm_start.refresh_statistics=true")
    own: list[str] = options.set
    return own + texts


def _add_init(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "logs",
        nargs="*",
        type=named_path,
        metavar="LOGS",
        help="one file, folder or glob in quotes for each stream, perhaps name=path; none: an "
        "example to fill in",
    )
    command.add_argument("--output", type=path, help="the file to write (default: funnel.toml)")
    command.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="[NAME:]COLUMN[=VALUE]",
        help="what to predict in a wide table, as in income='50000+.'; may be repeated",
    )
    command.add_argument(
        "--eval", type=path_text, metavar="FILE", help="the evaluation rows of a wide table"
    )
    command.add_argument(
        "--columns",
        type=path_text,
        metavar="a,b,c|FILE",
        help="names of the columns of CSV files without header",
    )
    for key, what in (
        ("id", "the id of an impression"),
        ("time", "the time"),
        ("group", "the user"),
    ):
        command.add_argument(f"--{key}", metavar="COLUMN", help=f"the column of {what}")
    command.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column that must not be a feature; may be repeated",
    )
    command.add_argument("--example", metavar="NAME", help="write a shipped example, as in demo")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path",
        type=path_text,
        help="a run's directory, its data/, model/ or export/, a TFRecord, or logs: a file, a "
        "folder or a glob in quotes",
    )
    command.add_argument(
        "--rows",
        type=_count,
        metavar="N",
        help="show the first N rows; of a run, training examples by feature name instead of the "
        "rest (TFRecords and logs: 5)",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="compare files with their recorded checksums; exit code 2 if one differs",
    )


def _add_stage(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument("config", type=path, help="the configuration file (TOML)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help="override one value; may be repeated",
    )
    command.add_argument(
        "--no-wait",
        action="store_true",
        help="fail if another job does the same in the run's directory, instead of waiting for it",
    )
    if name in ("run", "train"):
        command.add_argument(
            "--force", action="store_true", help="start over, replacing existing results"
        )
        command.add_argument(
            "--warm-start",
            metavar="RUN",
            help="start from another run's latest checkpoint, as in runs/yesterday",
        )
        command.add_argument(
            "--refresh-statistics",
            action="store_true",
            help="with --warm-start: recompute moments and vocabularies from the new rows",
        )
    if name == "train":
        command.add_argument(
            "--exit-zero-on-signal",
            action="store_true",
            help="exit with 0 when a signal ends the training, Ctrl-C too; it writes a checkpoint",
        )
    if name in ("run", "preprocess"):
        command.add_argument(
            "--dates",
            metavar="FIRST..LAST",
            help="read only the dated folders of these days, as in 2026-11-01..2026-11-07",
        )
    if name == "predict":
        command.add_argument(
            "--input",
            nargs="+",
            type=path_text,
            help="files or globs of raw rows (default: the logs of the configuration)",
        )
        command.add_argument(
            "--output",
            type=path,
            help="a Parquet file (default: predictions.parquet in the run's directory)",
        )


def _add_experiment(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help=", ".join(EXPERIMENTS))
    command.add_argument(
        "--seeds",
        type=_count,
        default=5,
        metavar="N",
        help="measure every setting with the seeds 1 … N (default: 5)",
    )
    command.add_argument(
        "--out", type=path, help="directory of its results (default: runs/experiments/<name>)"
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="measure only these settings, as in: census --only mmoe ple",
    )
    command.add_argument(
        "--config",
        type=path,
        help="another configuration (default: the example demo for esmm-bias, census for census)",
    )
    command.add_argument(
        "--table", action="store_true", help="print only the results, as JSON (defaults)"
    )
    command.add_argument(
        "--public",
        type=path,
        metavar="FOLDER",
        help="folder of the public data sets (defaults; default: ../shared/public)",
    )


def _count(text: str) -> int:
    """Raises ArgumentTypeError for anything but a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)
