"""What a path is: a run, one of its directories, a TFRecord, logs; or nothing that funnel knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from features.errors import FunnelError
from features.files import check_file
from pipeline.sources.files import format_of
from pipeline.sources.listing import is_hidden, refusal
from pipeline.sources.storage import COMPRESSIONS

LISTED = 6  # names in an error
CHILDREN = 200  # directories that are looked into
TFRECORD = ".tfrecord"
AMBIGUOUS = (".json", ".txt", ".data", ".test")  # a file with such a name alone makes no log


def identify(path: str) -> str:
    """The kind of a path, a key of TITLES.

    Raises:
        FunnelError: The path does not exist, cannot be read, is empty, or is of no known kind.
    """
    if is_pattern(path):
        return "log"
    try:
        if not os.path.exists(path):
            raise FunnelError(
                f"{path}: there is no such file or directory; give a run's directory, as in "
                "runs/demo, a TFRecord file, or a log"
            )
        return _directory(Path(path)) if os.path.isdir(path) else _file(Path(path))
    except OSError as error:
        raise FunnelError(
            f"{path}: cannot be read ({error.strerror}); change its permissions, or copy it"
        ) from None


def is_pattern(path: str) -> bool:
    """Whether a path is a glob or the address of a remote file."""
    return "://" in path or (any(sign in path for sign in "*?[") and not os.path.exists(path))


def is_log(path: Path) -> bool:
    """Whether a file's name ends as a format of logs does, before the ending of a compression."""
    try:
        format_of("", str(path))
    except FunnelError:
        return False
    return True


def is_tfrecord(path: Path) -> bool:
    """Whether a file's name is that of a TFRecord, as in x.tfrecord.gz or x.tfrecord-00000-of-2."""
    return TFRECORD in "".join(path.suffixes)


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda folder: any((folder / name).exists() for name in names)


def _data(folder: Path) -> bool:
    return _has("manifest.json")(folder) and _has("spec.json", "fitted.json", "train")(folder)


def _versions(folder: Path) -> bool:
    return any(path.parent.name.isdecimal() for path in folder.glob("*/saved_model.pb"))


def _checkpoints(folder: Path) -> bool:
    return any(folder.glob("ckpt-*.index"))


def _records(folder: Path) -> bool:
    return any(is_tfrecord(path) for path in folder.iterdir())


def _logs(folder: Path) -> bool:
    files = files_below(folder)
    return any(is_log(path) and path.suffix.lower() not in AMBIGUOUS for path in files)


# The first that applies is the kind of a directory: {kind: (title, whether it applies)}.
DIRECTORIES: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "experiment": ("results of an experiment", _has("results.jsonl")),
    "data": ("a preprocessed directory", _data),
    "run": (
        "a run's directory",
        _has("data/manifest.json", ".stages.json", "summary.json", "config.toml"),
    ),
    "model": ("a model's directory", _has("model.json", "checkpoints")),
    "checkpoints": ("the checkpoints of a model", _checkpoints),
    "version": ("one version of an export, a SavedModel", _has("saved_model.pb")),
    "export": ("an export's directory, one folder a version", _versions),
    "simulation": ("simulated logs", _has("simulation.json")),
    "tfrecords": ("a directory of TFRecord files", _records),
}
TITLES = {kind: title for kind, (title, _) in DIRECTORIES.items()} | {
    "tfrecord": "a TFRecord file",
    "log": "logs",
}


def _directory(folder: Path) -> str:
    kind = _kind(folder)
    if kind:
        return kind
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        raise FunnelError(
            f"{folder}: the directory is empty; `funnel run` or `funnel preprocess` fills a run's "
            "directory"
        )
    folders = [folder / name for name in names[:CHILDREN] if (folder / name).is_dir()]
    known = [str(path) for path in folders if _kind(path)]
    if known:
        raise FunnelError(
            f"{folder}: is not a directory of funnel's itself, but holds some; inspect one: "
            f"{_listed(known)}"
        )
    if _logs(folder):
        return "log"
    raise FunnelError(
        f"{folder}: is not a directory that funnel writes, and has no TFRecords or logs; it holds "
        f"{_listed(names)}; give a run's directory, as in runs/demo, or a log"
    )


def _kind(folder: Path) -> str | None:
    return next((kind for kind, (_, applies) in DIRECTORIES.items() if applies(folder)), None)


def _file(path: Path) -> str:
    check_file(path)
    with path.open("rb"):  # raises where it must not be read
        pass
    if is_tfrecord(path):
        return "tfrecord"
    if path.name in ("manifest.json", "spec.json", "model.json", "saved_model.pb", "config.toml"):
        raise FunnelError(
            f"{path}: is one file of a directory: inspect the directory, {path.parent}"
        )
    if is_log(path):
        return "log"
    raise FunnelError(
        f"{path}: the ending of its name is none that funnel knows; give a TFRecord file "
        f"(.tfrecord, .tfrecord.gz) or a log: Parquet, CSV or JSON lines, the texts also with "
        f"{' or '.join(sorted(COMPRESSIONS))}"
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Yields the files below a directory in order of their paths, hidden ones left out.

    Raises:
        FunnelError: A directory below it cannot be read.
    """
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(parent, name) for name in sorted(names) if not is_hidden(name))


def _refuse(error: OSError) -> None:
    raise refusal(str(error.filename), error)


def _listed(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
