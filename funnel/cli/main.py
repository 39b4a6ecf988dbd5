"""The `funnel` command: parses the arguments, runs one command, turns errors into exit codes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from features.errors import FunnelError
from features.printable import one_line
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
    code = main()
    ended = code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)  # threads may still be at work
    # tensorflow-io's S3 client aborts the process when Python unloads it.
    if ended or "tensorflow_io" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code, one of ExitCode.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own, beam_args = split(arguments)
    options = parser().parse(own)
    if beam_args and options.command not in WITH_BEAM:
        parser().error(f"arguments after -- go to Beam, which `{options.command}` does not use")
    with_json = getattr(options, "json", False) or getattr(options, "table", False)
    try:
        with terminable(), lines_to(with_json=with_json, quiet=options.quiet):
            first = first_line(options)
            if first:  # before the imports, which take a while
                emit(f"· {one_line(first)}")
            from funnel.cli.terminal import Terminal

            with reporting_to(Terminal()):
                result = HANDLERS[options.command](options, beam_args)
            if result is not None:
                document(result)
    except FunnelError as error:
        return _fail(error, ExitCode.USER_ERROR, str(error), debug=options.debug)
    except Interrupted as interrupted:
        begun = interrupted.step is not None
        where = f"at step {interrupted.step}" if begun else "before its first step"
        command = _resuming(arguments, begun=begun)
        message = f"training was ended {where} by a signal; to resume: {command}"
        return _fail(None, ExitCode.TERMINATED, message, debug=False)
    except (KeyboardInterrupt, Terminated) as error:
        by_user = isinstance(error, KeyboardInterrupt)
        message = "interrupted" if by_user else "ended by SIGTERM"
        message += "; the same command resumes from the last checkpoint or finished stage"
        code = ExitCode.INTERRUPTED if by_user else ExitCode.TERMINATED
        return _fail(None, code, message, debug=False)
    except Exception as error:
        missing = extras.remedy(error)
        if missing:
            return _fail(error, ExitCode.USER_ERROR, missing, debug=options.debug)
        last = str(error).strip().splitlines()[-1] if str(error).strip() else ""
        message = f"{type(error).__name__}: {last} (--debug shows the traceback)"
        return _fail(error, ExitCode.FAULT, message, debug=options.debug)
    return ExitCode.OK


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
