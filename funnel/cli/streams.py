"""stdout and stderr: which lines they receive, and in which characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

from funnel.cli.exit_codes import ExitCode

# The characters of our own lines, for screens and files whose encoding lacks them.
PLAIN = {
    "✓": "ok",
    "·": "-",
    "–": "-",
    "−": "-",
    "→": "->",
    "…": "...",
    "×": "x",
    "±": "+-",
    "≈": "~",
    "•": "*",
}


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lost), error.end


codecs.register_error("plain", _plain)


def accept_all_characters() -> None:
    """Writes characters that the encoding of stdout or stderr lacks as others, instead of failing.

    Example:
        >>> "✓ 3 × 4 → é".encode("ascii", errors="plain")
        b'ok 3 x 4 -> ?'
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


@contextlib.contextmanager
def lines_to(*, json: bool, quiet: bool) -> Iterator[None]:
    """Where what is printed in the block goes: nowhere with `quiet`, to stderr with `json`, which
    keeps stdout for the result, and otherwise to stdout.
    """
    with contextlib.ExitStack() as stack:
        if quiet:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        elif json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def emit(text: str) -> None:
    """Prints a text at once. Ends the process without a word where nobody reads stdout any more, as
    after `funnel inspect runs/demo | head -1`.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAULT)
