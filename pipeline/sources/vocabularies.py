"""The vocabulary files that features name: one value a line."""

from __future__ import annotations

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from features.errors import FunnelError
from features.spec import Spec


def read_vocabularies(spec: Spec) -> dict[str, list[str]]:
    """The values of every vocabulary file, by feature.

    Raises:
        FunnelError: a file cannot be read, holds no value, or repeats one.
    """
    return {
        name: read_vocabulary(name, vocabulary.file)
        for name, vocabulary in spec.vocabularies.items()
        if vocabulary.file
    }


def read_vocabulary(name: str, path: str) -> list[str]:
    """The lines of a feature's vocabulary file, in any filesystem that Beam knows, without blank
    ones. Raises FunnelError as `read_vocabularies` does.
    """
    try:
        with FileSystems.open(path) as file:
            lines = file.read().decode().splitlines()
    except (OSError, BeamIOError, UnicodeDecodeError) as error:
        raise FunnelError(
            f"features.{name}.vocabulary = '{path}': cannot be read as lines of UTF-8 ({error})"
        ) from None
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and first.setdefault(line, number) != number:
            raise FunnelError(
                f"features.{name}.vocabulary: line {number} of {path} is '{line}', "
                f"as is line {first[line]}: remove one"
            )
    if not first:
        raise FunnelError(
            f"features.{name}.vocabulary = '{path}': holds no value; write one a line, or give "
            "buckets"
        )
    return list(first)
