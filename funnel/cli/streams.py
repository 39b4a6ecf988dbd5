"""stdout and stderr: which lines they receive, and in which characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import locale
import math
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from features.errors import UNSEEN, printable
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


def read_files_as_utf8() -> None:
    """Replaces this process by the same command in Python's UTF-8 mode where the locale has another
    encoding: configurations, logs and results are UTF-8 everywhere. stdout and stderr keep theirs.
    """
    if codecs.lookup(locale.getpreferredencoding(False)).name == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def accept_all_characters() -> None:
    """Writes characters that the encoding of stdout or stderr lacks as others, instead of failing.

    Example:
        >>> "✓ 3 × 4 → é".encode("ascii", errors="plain")
        b'ok 3 x 4 -> ?'
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


# Where the document goes that --json prints; None without --json.
_document: ContextVar[TextIO | None] = ContextVar("document", default=None)


@contextlib.contextmanager
def lines_to(*, with_json: bool, quiet: bool) -> Iterator[None]:
    """Where what is printed in the block goes: nowhere with `quiet`; to stderr with `with_json`,
    which keeps stdout for the document; otherwise to stdout.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_document.reset, _document.set(sys.stdout if with_json else None))
        if quiet:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        elif with_json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def document(content: Any) -> None:
    """Prints the one document of a command with --json; does nothing without --json. NaN and
    infinity are null, and what JSON cannot hold, such as times and paths, is a text.
    """
    stream = _document.get()
    if stream is not None:
        plain = not (stream.encoding or "utf-8").lower().startswith("utf")
        options: dict[str, Any] = {"indent": 1, "ensure_ascii": plain, "allow_nan": False}
        emit(_escaped(json.dumps(_finite(content), **options, default=str)), stream)


def emit(text: str, stream: TextIO | None = None) -> None:
    """Prints a text at once. Ends the process without a word where nobody reads it any more, as
    after `funnel inspect runs/demo | head -1`.
    """
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
        sys.exit(ExitCode.FAULT)


def _escaped(document: str) -> str:
    """The same JSON, with escapes for the characters that `printable` would replace."""
    return UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], document)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
