"""Completion in shells: what can follow in a command line, and the code that asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from argcomplete.completers import BaseCompleter, DirectoriesCompleter, FilesCompleter
from argcomplete.finders import CompletionFinder
from argcomplete.shell_integration import shellcode

from funnel.cli.arguments import EXPERIMENTS, parser
from funnel.examples import EXAMPLES

FILES: dict[str, BaseCompleter] = {
    "config": FilesCompleter(["toml"]),
    "warm_start": DirectoriesCompleter(),
    "out": DirectoriesCompleter(),
    "public": DirectoriesCompleter(),
}
FREE = (  # texts and numbers that no list holds
    "dates", "drop", "group", "id", "label", "only", "rows", "seeds", "time",
)  # fmt: skip


class Values(BaseCompleter):
    """The values that an argument can take."""

    def __call__(
        self,
        *,
        prefix: str,
        action: argparse.Action,
        parser: argparse.ArgumentParser,
        parsed_args: argparse.Namespace,
    ) -> Iterable[str]:
        """What can follow `prefix`, the part that is typed."""
        if action.dest == "set":
            from funnel.cli.set_keys import assignments

            return assignments(prefix, getattr(parsed_args, "config", None))
        if action.dest == "name":
            return EXPERIMENTS
        if action.dest == "example":
            return [path.stem for path in EXAMPLES.glob("*.toml")]
        if action.dest in FREE:
            return ()
        files = FILES.get(action.dest, FilesCompleter())
        return files(prefix=prefix, action=action, parser=parser, parsed_args=parsed_args)


def complete() -> None:
    """Answers the shell, which names the command line in COMP_LINE, and ends the process."""
    CompletionFinder()(parser(), always_complete_options=False, default_completer=Values())


def code(shell: str) -> str:
    """The lines that a shell evaluates to complete `funnel` from then on.

    Args:
        shell: One of SHELLS.

    Example:
        >>> "complete" in code("bash")
        True
    """
    return shellcode(["funnel"], shell=shell).strip()
