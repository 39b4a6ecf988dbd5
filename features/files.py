"""Paths as users write them; files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from features.errors import FunnelError, hide_credentials, naming

VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{\w+\})", re.ASCII)


def expand_path(text: str) -> str:
    """A path or URI as a configuration or a command line names it, with a leading ~ and variables
    of the environment ($NAME, ${NAME}) replaced.

    Raises:
        FunnelError: There is no such user or variable, or a URI holds credentials.

    Example:
        >>> os.environ["DAY"] = "2026-11-01"
        >>> expand_path("s3://logs/$DAY/*.csv")
        's3://logs/2026-11-01/*.csv'
    """
    expanded = os.path.expanduser(os.path.expandvars(text))
    unset = VARIABLE.search(expanded)
    if unset:
        raise FunnelError(f"{unset[0]} is not a variable of the environment: set it")
    if expanded.startswith("~"):
        user = expanded.partition("/")[0]
        raise FunnelError(f"{user} is not the home directory of a user; of a file, give ./{user}")
    if hide_credentials(expanded) != expanded:
        raise FunnelError(
            f"{expanded}: holds credentials, which config.toml and the manifest would repeat; "
            "remove them, and give them to the storage's client (docs/features.md)"
        )
    return expanded


def special(path: str | Path) -> str | None:
    """What a path is that holds no file: "a FIFO", "a socket" or "a device", which may block the
    reader or never end. None for a file, a directory, and where nothing is.

    Example:
        >>> special("/dev/null"), special("/tmp")
        ('a device', None)
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(mode), "a device")


def check_file(path: str | Path) -> None:
    """Raises FunnelError where a path to be read is a FIFO, a device or a socket."""
    kind = special(path)
    if kind is not None:
        raise FunnelError(f"{path}: is {kind}, not a file; write its content to a file and name it")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an error.

    The temporary file reaches the disk before it is renamed, so a reader sees the old file or the
    new one, whole, also after a power cut. If the block raises, the temporary file is removed.

    Raises:
        FunnelError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.json"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("{}")
        >>> path.read_text()
        '{}'
    """
    temporary = path.with_name(f".{path.name}.unfinished")
    with naming(path):
        try:
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Replaces the file `path` by one that holds `text` in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A directory beside `out` that replaces it when the block ends without an error.

    If the block raises, the new directory is removed and `out` is left as it was. It has a name of
    its own, so that what a worker of a killed job still writes is not among it. What killed jobs
    left is removed: only one process at a time may replace `out`. Where `out` is a link, the
    directory that it names is replaced and the link stays.

    Raises:
        FunnelError: `out` is a file or a mount point, which a directory cannot replace, or it
            cannot be written.
    """
    out = resolved(out)
    with naming(out):
        old, beside = _clear(out), _beside(out)
        try:
            mode = make_private(beside)
            yield beside
            flush_all(beside)
            beside.chmod(mode)
            if out.exists():
                out.rename(old)
            _publish(beside, out, old)
        finally:
            _remove(beside)


def _clear(out: Path) -> Path:
    """Removes what killed jobs left beside `out`. Returns where `out` waits to be replaced."""
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():  # killed between the two renames
        old.rename(out)
    _check_replaceable(out)
    make_directory(out.parent)
    _remove_unfinished(out)
    if old.is_symlink():
        old.unlink()
    elif old.exists():
        shutil.rmtree(old)  # its name is needed, so an error is one of this job
    return old


def _publish(beside: Path, out: Path, old: Path) -> None:
    try:
        beside.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    flush(out.parent)
    _remove(old)


def make_private(folder: Path) -> int:
    """Makes a directory that only its owner can enter. Returns the mode that the user's umask gives
    it, which it gets when it is published.
    """
    folder.mkdir()
    mode = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(mode & ~0o077)
    return mode


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FunnelError(f"{out}: is a file, and a directory is written there; remove it")
    if out.is_mount():
        raise FunnelError(
            f"{out}: is a mount point, and the directory is replaced as a whole: mount the "
            "directory above it, or write to a directory in it"
        )


def discard(folder: Path) -> None:
    """Removes a directory, if it exists, as a whole: a killed process leaves nothing half removed
    under its name.

    Raises:
        FunnelError: It is a mount point, or it cannot be removed.
    """
    with naming(folder):
        _remove_unfinished(folder)
        if folder.exists():
            _check_replaceable(folder)
            beside = _beside(folder)
            folder.rename(beside)
            _remove(beside)


def _beside(folder: Path) -> Path:
    """A hidden name beside a directory that nothing has."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.unfinished")


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed jobs left under the names that `_beside` gives."""
    left = re.compile(rf"\.{re.escape(folder.name)}\.([0-9a-f]{{8}}\.)?unfinished")
    for path in folder.parent.iterdir() if folder.parent.exists() else ():
        if left.fullmatch(path.name):
            _remove(path)


def _remove(folder: Path) -> None:
    """Removes a directory that nothing needs; the next job removes what cannot be removed now."""
    with suppress(OSError):
        if folder.is_symlink():
            folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def make_directory(path: Path) -> None:
    """Makes a directory and those above it. Where one is a link, it makes what the link names.

    Raises:
        FunnelError: A file is in its place, or a link names itself.
    """
    real = _real(path)
    while True:
        try:
            real.mkdir(parents=True, exist_ok=True)
            return
        except (FileExistsError, NotADirectoryError):
            file = next((p for p in (real, *real.parents) if p.exists() and not p.is_dir()), None)
        if file is not None:  # otherwise another process has just removed the directory
            raise FunnelError(
                f"{path}: cannot be a directory, since {file} is a file; give another path, or "
                "remove the file"
            )


def resolved(path: Path) -> Path:
    """What a link leads to; the path itself where it is not a link.

    Raises:
        FunnelError: A link names itself.
    """
    return _real(path) if path.is_symlink() else path


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        raise FunnelError(
            f"{path}: is a link that leads back to itself; remove it, or link to a directory"
        ) from None


def flush_all(folder: Path) -> None:
    """Waits until the disk holds a directory and all that is in it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def flush(path: Path) -> None:
    """Waits until the disk holds a file, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
