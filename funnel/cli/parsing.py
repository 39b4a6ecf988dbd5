"""argparse with errors that read like the others, and commands in the order of use."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from features.errors import FunnelError, nearest, printable
from features.files import expand_path
from funnel.cli.exit_codes import ExitCode

CHOICE = re.compile(r"argument command: (invalid choice: '([^']*)')")


def path_text(text: str) -> str:
    """The argument with a leading ~ and variables replaced, which shells leave as they are after a
    "=" and inside quotes.
    """
    try:
        return expand_path(text)
    except FunnelError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path(text: str) -> Path:
    """As `path_text`, as a Path."""
    return Path(path_text(text))


def named_path(text: str) -> str:
    """As `path_text`, of `path` or `name=path`."""
    name, equals, after = text.partition("=")
    return f"{name}={path_text(after)}" if equals and name.isidentifier() else path_text(text)


class Parser(argparse.ArgumentParser):
    """A parser of a command, or of all."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    @property
    def commands(self) -> dict[str, Parser]:
        """The parsers of its commands, by name."""
        found: dict[str, Parser] = {}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= action.choices
        return found

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments of one command. Exits with ExitCode.USER_ERROR where they are wrong."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            command = self.commands[options.command]
            hint = _nearest_option(unknown[0], command)
            command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits."""
        choice = CHOICE.match(message)
        if choice:
            message = f"{choice[1]}: {nearest(choice[2], self.commands)}"
        print(printable(f"error: {message} (see `{self.prog} --help`)"), file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)


def _nearest_option(argument: str, command: Parser) -> str:
    """ ": did you mean …" for an option that resembles one of the command's."""
    known = [option for action in command._actions for option in action.option_strings]
    hint = nearest(argument.partition("=")[0], known) if argument.startswith("-") else ""
    return f": {hint}" if hint.startswith("did you mean") else ""
