"""The vocabulary files that features name: one value a line."""

from __future__ import annotations

import pyarrow as pa

from features.errors import FunnelError
from features.spec import Spec
from pipeline.config import LINE_BYTES
from pipeline.sources.formats.lines import LineReader
from pipeline.sources.storage import Source, check_client, open_source

SPACES = " \t\r\v\f"  # that CSV values lose, too


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
    r"""The lines of a feature's vocabulary file, in any filesystem that Beam knows and with any
    compression of logs. Lines end with \n or \r\n. A byte order mark, spaces around a value and
    blank lines do not count. Raises FunnelError as `read_vocabularies` does.
    """
    key = f"features.{name}.vocabulary"
    check_client(key, path)
    found: list[tuple[int, str]] = []
    try:
        with open_source(Source(name, path, path, 0, "lines of UTF-8")) as file:
            for numbers, lines, long in LineReader(file, LINE_BYTES).blocks():
                for number, _, _ in long[:1]:
                    raise pa.ArrowInvalid(f"line {number} is longer than {LINE_BYTES:,} bytes")
                for number, line in zip(numbers.tolist(), lines, strict=True):
                    value = line.decode().strip(SPACES)
                    if value:
                        found.append((number, value))
    except FunnelError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise FunnelError(
            f"{key} = '{path}': cannot be read as lines of UTF-8 ({cause}); give the path of a "
            "file of one value a line, relative to the current directory"
        ) from None
    first: dict[str, int] = {}
    for number, value in found:
        if first.setdefault(value, number) != number:
            raise FunnelError(
                f"{key}: line {number} of {path} is '{value}', as is line {first[value]}: "
                "remove one"
            )
    if not first:
        raise FunnelError(f"{key} = '{path}': holds no value; write one a line, or give buckets")
    return list(first)
