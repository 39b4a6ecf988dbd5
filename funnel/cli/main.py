"""The `funnel` command: parses the arguments, runs one command, turns errors into exit codes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from features.errors import FunnelError
from funnel import extras
from funnel.cli import huge_pages
from funnel.cli.arguments import parser, split
from funnel.cli.commands import HANDLERS
from funnel.stages.interrupted import Interrupted

WITH_LARGE_TABLES = ("train", "run")  # ask for huge pages


def program() -> NoReturn:
    """The console script: runs `main` and exits with its code."""
    if parser().parse_args(split(sys.argv[1:])[0]).command in WITH_LARGE_TABLES:
        huge_pages.reexec_with_huge_pages()
    code = main()
    if "tensorflow_io" in sys.modules:  # its S3 client aborts the process when Python unloads it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, 1 for an error of the program, 2 for an error that the user can fix, 130
        when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own, beam_args = split(arguments)
    options = parser().parse_args(own)
    if beam_args and options.command not in ("preprocess", "run"):
        parser().error(f"arguments after -- go to Beam, which `{options.command}` does not use")
    try:
        HANDLERS[options.command](options, beam_args)
    except FunnelError as error:
        return _fail(error, 2, str(error), debug=options.debug)
    except Interrupted as interrupted:
        begun = interrupted.step is not None
        where = f"at step {interrupted.step}" if begun else "before its first step"
        command = _resuming(arguments, begun=begun)
        print(f"training was ended {where} by a signal; to resume: {command}")
        return 0
    except KeyboardInterrupt:
        message = "interrupted; the same command resumes from the last checkpoint or finished stage"
        return _fail(None, 130, message, debug=False)
    except Exception as error:
        missing = extras.remedy(error)
        if missing:
            return _fail(error, 2, missing, debug=options.debug)
        last = str(error).strip().splitlines()[-1] if str(error).strip() else ""
        message = f"{type(error).__name__}: {last} (--debug shows the traceback)"
        return _fail(error, 1, message, debug=options.debug)
    return 0


def _resuming(arguments: list[str], *, begun: bool) -> str:
    """The command that resumes; a training that has begun is not started over a second time."""
    return shlex.join(["funnel", *(a for a in arguments if not (begun and a == "--force"))])


def _fail(error: BaseException | None, code: int, message: str, *, debug: bool) -> int:
    from funnel.console import errors

    if debug and error is not None:
        errors.print_exception()
    errors.print("[red]error:[/red]", end=" ")
    errors.print(message, markup=False)
    return code
