"""output.max_rejects, enforced while a job reads.

A job stops as soon as the rows that cannot be used are more than the limit allows in the whole
stream, however many valid rows the rest may hold. How many it may hold follows from its size. What
has been read counts in the order of files and pieces, so the error does not depend on the workers.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from features.errors import FunnelError
from pipeline.config import PreprocessConfig
from pipeline.output.progress import MARKERS
from pipeline.output.worker_errors import READ, record
from pipeline.sources.formats import FORMATS
from pipeline.sources.storage import Source


def too_many(
    config: PreprocessConfig, stream: str, rejected: Mapping[str, int], rows: int, where: str = ""
) -> FunnelError:
    """The error about rows that cannot be used.

    Args:
        config: the configuration.
        stream: the stream.
        rejected: their number by reason.
        rows: the number of rows read.
        where: which rows these are, if not all of the stream.
    """
    most = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))[:3]
    leading = ", ".join(f"{reason}: {count}" for reason, count in most)
    of = f"the first {rows} rows ({where})" if where else f"{rows} rows"
    return FunnelError(
        f"logs.{stream}: {sum(rejected.values())} of {of} cannot be used, more than "
        f"output.max_rejects = {config.output.max_rejects} allows{' in all' * bool(where)} "
        f"({leading}); fix the log or the declaration, or allow more"
    )


def most_rows(config: PreprocessConfig, sources: Sequence[Source], stream: str) -> float:
    """How many rows a stream may hold at most, by the sizes of its files; infinite where they do
    not say.
    """
    declared, own = config.logs[stream], [s for s in sources if s.stream == stream]
    if not all(FORMATS[source.format].bytes_in_ranges for source in own):
        return math.inf
    return sum(FORMATS[source.format].most_rows(source, declared) for source in own)


class PieceLimit:
    """Ends the reading of one piece as soon as it alone has more rejects than its stream may have.

    Args:
        config: the configuration.
        source: the file.
        most: how many rows the stream may hold.
    """

    def __init__(self, config: PreprocessConfig, source: Source, most: float) -> None:
        self.config, self.source, self.most = config, source, most
        self.rows = 0
        self.rejected: Counter[str] = Counter()

    def add(self, rows: int, rejected: Mapping[str, int]) -> None:
        """Counts a batch. Raises FunnelError above the limit."""
        self.rows += rows
        self.rejected.update(rejected)
        possible = max(self.most, self.rows)
        if self.rejected.total() > self.config.output.max_rejects * possible:
            stream, where = self.source.stream, f"of {self.source.path}"
            raise too_many(self.config, stream, self.rejected, self.rows, where)

    def as_json(self) -> str:
        """The counts, for `StreamLimit`."""
        return json.dumps({"rows": self.rows, "rejected": self.rejected})


class StreamLimit:
    """Counts the rows of one stream piece by piece, in order, from the markers of a job.

    Args:
        config: the configuration.
        sources: all files of the job.
        stream: the stream.
        out: the directory that the job writes.
    """

    def __init__(
        self, config: PreprocessConfig, sources: Sequence[Source], stream: str, out: Path
    ) -> None:
        self.config, self.sources, self.stream, self.out = config, sources, stream, out
        self.pieces: list[tuple[int, int, float]] = []  # file, piece, the most rows after it
        self.at = self.rows = 0
        self.rejected: Counter[str] = Counter()

    def check(self) -> None:
        """Counts what has been read since the last call; records an error above the limit."""
        self.pieces = self.pieces or self._cut()
        for number, piece, rest in self.pieces[self.at :]:
            marker = self.out / MARKERS / f"read-{number}-{piece}"
            if not marker.exists():
                return
            counts = json.loads(marker.read_text(encoding="utf-8"))
            self.at += 1
            self.rows += counts["rows"]
            self.rejected.update(counts["rejected"])
            possible = self.rows + rest
            if self.rejected.total() > self.config.output.max_rejects * possible:
                where = f"up to {self.sources[number].path}" if rest else ""
                error = too_many(self.config, self.stream, self.rejected, self.rows, where)
                record(self.out, (READ, number, piece), error)
                self.at = len(self.pieces)
                return

    def _cut(self) -> list[tuple[int, int, float]]:
        """The pieces of all files, once they are known."""
        pieces: list[tuple[int, int, float]] = []
        markers = {
            int(path.name.split("-")[1]): path for path in (self.out / MARKERS).glob("cut-*")
        }
        for number, source in enumerate(self.sources):
            if source.stream == self.stream:
                if number not in markers:
                    return []
                content = json.loads(markers[number].read_text(encoding="utf-8"))
                pieces += [(number, at, rows) for at, rows in enumerate(content)]
        rest, found = 0.0, []
        for number, at, rows in reversed(pieces):
            found.append((number, at, rest))
            rest += rows
        return found[::-1]
