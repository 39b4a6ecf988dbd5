"""The `funnel` command: parses the arguments, runs one command, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from features.errors import Fault, FunnelError, one_line
from funnel import extras
from funnel.cli import huge_pages
from funnel.cli.arguments import parser, split
from funnel.cli.commands import HANDLERS, first_line
from funnel.cli.exit_codes import ExitCode
from funnel.cli.signals import Terminated, terminable
from funnel.cli.streams import accept_all_characters, document, emit, lines_to, read_files_as_utf8
from funnel.listener import reporting_to
from funnel.stages.interrupted import Interrupted

WITH_LARGE_TABLES = ("train", "run")  # ask for huge pages
WITH_BEAM = ("init", "preprocess", "run")


def program() -> NoReturn:
    """The console script: runs `main` and exits with its code."""
    read_files_as_utf8()
    accept_all_characters()
    if "_ARGCOMPLETE" in os.environ:
        from funnel.cli.completion import complete

        complete()
    if parser().parse(split(sys.argv[1:])[0]).command in WITH_LARGE_TABLES:
        huge_pages.reexec_with_huge_pages()
    code, by_signal = execute(sys.argv[1:])
    # After a signal threads may still be at work, and tensorflow-io's S3 client aborts the process
    # when Python unloads it.
    if by_signal or "tensorflow_io" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code, one of ExitCode.
    """
    return execute(sys.argv[1:] if arguments is None else arguments)[0]


def execute(arguments: Sequence[str]) -> tuple[ExitCode, bool]:
    """As `main`; also whether a signal ended the command."""
    arguments = list(arguments)
    own, beam_args = split(arguments)
    options = parser().parse(own)
    if beam_args and options.command not in WITH_BEAM:
        parser().error(f"arguments after -- go to Beam, which `{options.command}` does not use")
    with_json = getattr(options, "json", False) or getattr(options, "table", False)
    polite = getattr(options, "exit_zero_on_signal", False)
    try:
        with terminable(ctrl_c=polite), lines_to(with_json=with_json, quiet=options.quiet):
            try:
                result = _run(options, beam_args)
            except (Interrupted, Terminated) as stopped:
                if not polite:
                    raise
                emit(f"· {one_line(_stopped(stopped, arguments))}")
                step = getattr(stopped, "step", None)
                document({"stage": options.command, "ended": "signal", "step": step})
                return ExitCode.OK, True
            if result is not None:
                document(result)
    except (Interrupted, Terminated, KeyboardInterrupt) as stopped:
        code = ExitCode(128 + getattr(stopped, "number", signal.SIGINT))
        return _fail(None, code, _stopped(stopped, arguments), debug=False), True
    except FunnelError as error:
        return _fail(error, ExitCode.USER_ERROR, str(error), debug=options.debug), False
    except Exception as error:
        missing = extras.remedy(error)
        if missing:
            return _fail(error, ExitCode.USER_ERROR, missing, debug=options.debug), False
        if isinstance(error, Fault):  # a signal ended a worker: Beam's threads are still at work
            return _fail(error, ExitCode.FAULT, str(error), debug=options.debug), True
        last = str(error).strip().splitlines()[-1] if str(error).strip() else ""
        message = f"{type(error).__name__}: {last} (--debug shows the traceback)"
        return _fail(error, ExitCode.FAULT, message, debug=options.debug), False
    return ExitCode.OK, False


def _run(options: argparse.Namespace, beam_args: list[str]) -> Any:
    """Runs the command; returns the document that --json prints, None without one."""
    first = first_line(options)
    if first:  # before the imports, which take a while
        emit(f"· {one_line(first)}")
    from funnel.cli.terminal import Terminal

    with reporting_to(Terminal()):
        return HANDLERS[options.command](options, beam_args)


def _stopped(stopped: BaseException, arguments: list[str]) -> str:
    """What a signal ended, and how to resume."""
    if isinstance(stopped, Interrupted):
        begun = stopped.step is not None
        where = f"at step {stopped.step}" if begun else "before its first step"
        command = _resuming(arguments, begun=begun)
        return f"training was ended {where} by a signal; to resume: {command}"
    by = "interrupted"
    if isinstance(stopped, Terminated):
        by = f"ended by {signal.Signals(stopped.number).name}"
    return f"{by}; the same command resumes from the last checkpoint or finished stage"


def _resuming(arguments: list[str], *, begun: bool) -> str:
    """The command that resumes; a training that has begun is not started over a second time."""
    return shlex.join(["funnel", *(a for a in arguments if not (begun and a == "--force"))])


def _fail(error: BaseException | None, code: ExitCode, message: str, *, debug: bool) -> ExitCode:
    from funnel.console import errors

    if debug and error is not None:
        errors.print_exception()
    errors.print("[red]error:[/red]", end=" ")
    errors.print(message, markup=False)
    return code
