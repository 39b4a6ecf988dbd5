"""What a written partition leaves for the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.labeling.labels import Early
from pipeline.statistics.partitions import PartitionStatistics


@dataclass
class PartitionResult:
    """What a partition adds to the manifest and the statistics.

    Attributes:
        number: the partition.
        counts: rows by what became of them; under `events` the events of each event label by
            disposition.
        early: by event label, how early its events are that are too early.
        shards: by split, the file, rows, bytes and sha256 of its shard.
        statistics: of the rows written.
    """

    number: int
    counts: dict[str, Any]
    early: dict[str, Early]
    shards: dict[str, dict[str, Any]]
    statistics: PartitionStatistics
