"""Globs → paths: wildcards of path components, without hidden and marker files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from features.errors import FunnelError
from features.files import special

WILD = re.compile(r"[*?\[]")
BRACKET = re.compile(r"\[(!?)(\][^\]]*|[^\]]+)\]")
ANY_DEPTH = "**"
MARKERS = (".crc", "._COPYING_", "_$folder$")  # endings of what Hadoop writes beside data


def is_hidden(name: str) -> bool:
    """Whether a name marks what is not data, as in Spark: `_SUCCESS`, `.part-0.csv.crc`.

    Example:
        >>> is_hidden("_temporary"), is_hidden("._part-0.csv"), is_hidden("_day=1")
        (True, True, False)
    """
    hidden = name.startswith(".") or (name.startswith("_") and "=" not in name)
    return hidden or name.endswith(MARKERS)


def _names_hidden(part: str) -> bool:
    """Whether a component of a glob asks for hidden names."""
    return part.startswith((".", "_")) or part.endswith(MARKERS)


def skips(path: str, pattern: str) -> bool:
    """Whether a glob leaves out a path that it matches: a component is hidden, and that of the
    pattern does not ask for hidden ones.

    Example:
        >>> skips("logs/_old/a.csv", "logs/*/*"), skips("logs/_old/a.csv", "logs/_old/*")
        (True, False)
    """
    names, parts = path.split("/"), pattern.split("/")
    deep = [at for at, part in enumerate(parts) if ANY_DEPTH in part]
    first, last = (deep[0], deep[-1] + 1) if deep else (len(parts), len(parts))
    between = [""] * (len(names) - first - len(parts[last:]))
    aligned = [*parts[:first], *between, *parts[last:]]
    return any(
        is_hidden(name) and not _names_hidden(part)
        for name, part in zip(names, aligned, strict=False)
    )


def translate(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob: `*` and `?` stay in a component, `**` does not.

    Raises:
        FunnelError: a range of characters ends before it begins.
    """
    found, at = "", 0
    while at < len(pattern):
        bracket = BRACKET.match(pattern, at)
        if pattern.startswith(ANY_DEPTH, at):
            found, at = found + ".*", at + 2
        elif bracket:
            inside = bracket[2].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
            found, at = f"{found}[{'^' * bool(bracket[1])}{inside}]", bracket.end()
        else:
            sign = pattern[at]
            found += {"*": "[^/]*", "?": "[^/]"}.get(sign, re.escape(sign))
            at += 1
    try:
        return re.compile(found, re.DOTALL)
    except re.error as error:
        raise FunnelError(f"'{pattern}': is not a glob ({error}); correct the brackets") from None


def expand(pattern: str, *, folders: bool = False) -> list[str]:
    """The local files that a glob matches, in order of their paths.

    Args:
        pattern: a path, with or without wildcards.
        folders: whether to return folders that match, too.

    Raises:
        FunnelError: a folder that may hold matches, or a match, cannot be read; or a match is a
            FIFO, a device or a socket.
    """
    parts = (pattern + "*" * pattern.endswith("/")).split("/")
    fixed = next((at for at, part in enumerate(parts) if WILD.search(part)), len(parts))
    start = "/".join(parts[:fixed]) + "/" * (fixed < len(parts) and fixed > 0)
    if fixed == len(parts):
        found = [] if _mode(start) is None else [start]
    else:
        matched = _below(start, parts[fixed:]) if _is_folder(start or ".") else ()
        found = [path for path in matched if not skips(path, pattern)]
    return sorted(path for path in found if check_readable(path) or folders)


def check_readable(path: str) -> bool:
    """Whether a path is a file rather than a folder.

    Raises:
        FunnelError: it cannot be read, or is neither.
    """
    mode = _mode(path)
    if mode is None:
        raise refusal(path, FileNotFoundError(2, "a link to nothing"))
    if stat.S_ISDIR(mode):
        return False
    kind = special(path)
    if kind is not None:
        raise FunnelError(
            f"{path}: is {kind}, and logs are files: write its content to a file, or name "
            "the files by a glob that does not match it"
        )
    if not os.access(path, os.R_OK):
        raise refusal(path, PermissionError(13, "Permission denied"))
    return True


def refusal(path: str, error: OSError) -> FunnelError:
    """The error about a file or folder that cannot be read."""
    return FunnelError(
        f"{path}: cannot be read ({error.strerror or error}); give yourself permission to read it, "
        "or name other files"
    )


def _below(folder: str, parts: list[str]) -> Iterator[str]:
    """Yields what matches the components `parts` below a folder, which ends in "/" or is empty."""
    if any(ANY_DEPTH in part for part in parts):
        yield from _at_any_depth(folder, parts)
        return
    matches, literal = translate(parts[0]).fullmatch, _names_hidden(parts[0])
    for name in _names(folder):
        if not matches(name) or (is_hidden(name) and not literal):
            continue
        if len(parts) == 1:
            yield folder + name
        elif _is_folder(folder + name):
            yield from _below(f"{folder}{name}/", parts[1:])


def _at_any_depth(folder: str, parts: list[str]) -> Iterator[str]:
    """As a shell's `**`, this follows no link to a folder, which might lead back up."""
    literal = any(map(_names_hidden, parts))
    matches = translate("/".join(parts)).fullmatch
    pending = [folder]
    while pending:
        inner = pending.pop()
        for name in _names(inner):
            path = inner + name
            if is_hidden(name) and not literal:
                continue
            if not os.path.islink(path) and _is_folder(path):
                pending.append(f"{path}/")
            elif matches(path.removeprefix(folder)):
                yield path


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError as error:
        raise refusal(folder or ".", error) from None


def _is_folder(path: str) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: str) -> int | None:
    """The type and permissions of a path, None where nothing is there."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise refusal(path, error) from None
