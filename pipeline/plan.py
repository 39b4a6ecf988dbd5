"""What is decided before a job starts: its files, look-up tables, vocabularies and shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.checks import check_config
from pipeline.config import PreprocessConfig
from pipeline.rows.columns import columns_needed
from pipeline.rows.lookups import Lookups, resolve
from pipeline.rows.read import check_columns
from pipeline.sources.files import describe, find_sources
from pipeline.sources.storage import Source
from pipeline.sources.vocabularies import read_vocabularies


@dataclass(frozen=True)
class Plan:
    """A job before it starts.

    Attributes:
        config: the configuration.
        sources: the files to read.
        lookups: the look-up tables of each stream.
        vocabularies: the values of vocabulary files, by feature.
        shards: the number of shards of each split, and of partitions.
    """

    config: PreprocessConfig
    sources: list[Source]
    lookups: Mapping[str, Lookups]
    vocabularies: Mapping[str, list[str]]
    shards: int


def make_plan(config: PreprocessConfig, inform: Callable[[str], None] | None = None) -> Plan:
    """Checks all that can be checked before reading.

    Args:
        config: the configuration.
        inform: receives a line on the files of each stream and look-up table.

    Raises:
        FunnelError: sections of the configuration do not fit together, or files, columns or
            vocabularies are absent or cannot be read.
    """
    check_config(config)
    vocabularies = read_vocabularies(config.spec)
    inform = inform or (lambda _: None)
    sources, lookups = find_sources(config), {}
    for line in describe(sources):
        inform(line)
    for stream, declared in config.logs.items():
        own = [source for source in sources if source.stream == stream]
        request = columns_needed(config, stream)
        lookups[stream] = resolve(stream, declared, own, request.columns)
        for line in describe(s for join in lookups[stream].joins for s in join.sources):
            inform(line)
        check_columns(own, declared, request, lookups[stream])
    size = sum(source.size for source in sources)
    shards = config.output.shards or max(1, -(-size // config.output.shard_input))
    return Plan(config, sources, lookups, vocabularies, shards)
