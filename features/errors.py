"""The exceptions that users see, errors of files and disks among them, the search for the name that
a user may have meant, and texts as a terminal or a page may show them: without characters that act
on it, and without credentials.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Control characters, marks of direction, invisible characters, separators of lines, surrogates.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
BYTES = range(0xDC80, 0xDD00)  # by which Python names the bytes of a file name that is not UTF-8
SECRETS = (
    # user:password@ before a host. A password may hold "/"; digits before a "/" are a port.
    (re.compile(r"://[^\s/@:'\"]*:(?!\d+(?:[/'\"\s]|$))[^\s@'\"]*@"), "://***@"),
    # A key alone. In other addresses a name before a host is no secret: abfss://container@account.
    (re.compile(r"(?i)\b(https?|s3|gs)://[^\s/@:'\"]+@"), r"\1://***@"),
    # Of a signed address.
    (
        re.compile(
            r"(?i)([?&](?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|"
            r"Signature|sig|(?:access_)?token|api_?key|password|secret)=)[^&\s'\"]+"
        ),
        r"\1***",
    ),
)

ALLOW = "let this user read and write there"
REMEDIES = {  # of the errors of files and disks
    errno.EACCES: ALLOW,
    errno.EPERM: ALLOW,
    errno.EROFS: "give a path that can be written",
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space, or raise the quota",
    errno.EIO: "check the disk",
}


class FunnelError(ValueError):
    """An error the user can fix. The message gives the key, its value, the rule and the fix. What
    it quotes is made printable, and credentials are hidden.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Fault(RuntimeError):
    """A fault of the surroundings, as a process that was killed, that one line explains."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns an error of a file or a disk in the block into a FunnelError. It names the file that
    the error names, or else `path`.

    Raises:
        FunnelError: The block raised an OSError with an errno of REMEDIES.

    Example:
        >>> with naming(Path("run/data")):
        ...     raise OSError(errno.ENOSPC, "full")
        Traceback (most recent call last):
        features.errors.FunnelError: run/data: No space left on device; free space, run again
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        file = error.filename if isinstance(error.filename, str) else path
        raise _of_a_file(file, error.errno) from error


def named_in(message: str, path: Path) -> FunnelError | None:
    """The error of a file or a disk that another library reports in its own words, None if it
    reports another one. `path` is named, as in `naming`.

    Example:
        >>> named_in("ckpt-1.index; No space left on device", Path("checkpoints"))
        FunnelError('checkpoints: No space left on device; free space, run again')
    """
    found = (code for code in REMEDIES if os.strerror(code) in message)
    return next((_of_a_file(path, code) for code in found), None)


def _of_a_file(file: Path | str, code: int) -> FunnelError:
    return FunnelError(f"{file}: {os.strerror(code)}; {REMEDIES[code]}, run again")


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """The end of an error about an unknown name: the nearest known name, or all names.

    Args:
        listed: List all known names, too, if there is a near one.

    Example:
        >>> nearest("clik", ["click", "convert"])
        "did you mean 'click'?"
        >>> nearest("xyz", ["click", "convert"])
        'known: click, convert'
    """
    known = sorted(known)
    if not known:
        return "none is known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint, everything = [f"did you mean '{c}'?" for c in close], "known: " + ", ".join(known)
    return " ".join([*hint, *([everything] if listed or not close else [])])


def printable(text: str) -> str:
    """The text with its unseen characters, save tabs and newlines, as Python escapes them, and with
    its credentials hidden.

    Example:
        >>> print(printable("a\\x1b[31m \\u202eb of s3://key:secret@logs/a.csv"))
        a\\x1b[31m \\u202eb of s3://***@logs/a.csv
    """
    return hide_credentials(UNSEEN.sub(_escaped, text))


def one_line(text: str) -> str:
    """As `printable`, with newlines and tabs escaped, too.

    Example:
        >>> print(one_line("a\\nb"))
        a\\nb
    """
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def hide_credentials(text: str) -> str:
    """The text without passwords, keys and signatures in the addresses that it holds.

    Example:
        >>> hide_credentials("https://logs/a.csv?X-Amz-Signature=5f&v=1")
        'https://logs/a.csv?X-Amz-Signature=***&v=1'
    """
    if "://" not in text:
        return text
    for secret, hidden in SECRETS:
        text = secret.sub(hidden, text)
    return text


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in BYTES:
        return f"\\x{code - 0xDC00:02x}"
    escaped = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return escaped if code < 0x10000 else f"\\U{code:08x}"
