"""The Beam job: files → encoded batches → partitions → shards. Steps are composite; their logic is in pure functions elsewhere."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from features.errors import FunnelError, nearest
from pipeline import encode, join, publish
from pipeline.config import PreprocessConfig
from pipeline.labels import Calendar, make_calendar
from pipeline.partition import Partial, write_partition
from pipeline.progress import Watch, mark
from pipeline.read import Reject, check_columns, raw_columns, read
from pipeline.sources import Source, find_sources
from pipeline.staging import staging

BYTES_PER_SHARD = 128 << 20  # of input
TALLIES, REJECTS, PARTIALS = "tallies", "rejects", "partials"
ERROR = "error.json"


def preprocess(
    config: PreprocessConfig, out: Path, beam_args: Iterable[str] = (), on_progress: Callable[[int, int], None] | None = None
) -> dict:
    """Runs the whole job and publishes `out`; returns its manifest. Nothing is left behind when it fails.

    `beam_args` are Beam's own options (without --runner the job runs in this process). `on_progress(done, total)` is called
    about twice a second, in files read and shards written.
    """
    config.check()
    sources = find_sources(config)
    for stream in config.logs:
        first = next(s for s in sources if s.stream == stream)
        check_columns(first, config.logs[stream], raw_columns(config, stream))
    shards = config.output.shards or max(1, -(-sum(s.size for s in sources) // BYTES_PER_SHARD))
    with staging(out) as beside:
        with Watch(beside, len(sources) + shards, on_progress):
            _run(config, sources, shards, beside, list(beam_args))
        tallies, partials = _load(beside, TALLIES), _load(beside, PARTIALS)
        totals, sample = encode.fold_tallies(tallies)
        calendar = make_calendar(config, {name: total.last_time for name, total in totals.items()})
        return publish.describe(config, sources, totals, sample, calendar, partials, beside)


def _run(config: PreprocessConfig, sources: list[Source], shards: int, out: Path, beam_args: list[str]) -> None:
    """Runs the pipeline. A FunnelError raised in any worker is raised again here, without Beam's traceback around it."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    # Named, since the plain DirectRunner tries to fetch another engine from the network first.
    runner = None if any(a.startswith("--runner") for a in beam_args) else FnApiRunner()
    if runner:
        _know_every_option(beam_args)
    try:
        with beam.Pipeline(runner=runner, options=PipelineOptions(beam_args)) as pipeline:
            build(pipeline, config, sources, shards, out)
    except Exception as error:
        raised = out / ERROR
        if raised.exists():
            raise FunnelError(json.loads(raised.read_text())) from error
        raise


def _know_every_option(beam_args: list[str]) -> None:
    """Beam itself drops an option that it does not know; other runners than this process's have options of their own."""
    given, known = (PipelineOptions(beam_args).get_all_options(retain_unknown_options=retain) for retain in (True, False))
    for option in given.keys() - known.keys():
        raise FunnelError(f"--{option} is no option of Beam: {nearest(option, known)}")


def build(pipeline: beam.Pipeline, config: PreprocessConfig, sources: list[Source], shards: int, out: Path) -> None:
    """files → Encode → (partition, batch) → group → WritePartition; tallies, partials and rejects land beside the shards."""
    read_ = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(sources)))
        | "Spread" >> beam.Reshuffle()
        | "Encode" >> beam.ParDo(Encode(config, shards, out)).with_outputs(TALLIES, REJECTS, main="batches")
    )
    calendar = (
        read_[TALLIES]
        | "Last times" >> beam.Map(lambda t: (t.stream, t.last_time or 0))
        | "Last time of a stream" >> beam.CombinePerKey(max)
        | "All" >> beam.combiners.ToDict()
        | "Calendar" >> beam.Map(lambda last: make_calendar(config, last))
    )
    # Every partition is visited, so that a shard is written even where no row fell.
    visited = pipeline | "Partitions" >> beam.Create([(p, None) for p in range(shards)])
    written = (
        (read_["batches"], visited)
        | beam.Flatten()
        | "Group" >> beam.GroupByKey()
        | "Write"
        >> beam.ParDo(WritePartition(config, sources, shards, out), beam.pvalue.AsSingleton(calendar)).with_outputs(
            REJECTS, main="partials"
        )
    )
    _keep(read_[TALLIES], TALLIES, out)
    _keep(written["partials"], PARTIALS, out)
    (
        (read_[REJECTS], written[REJECTS])
        | "All rejects" >> beam.Flatten()
        | "By stream" >> beam.GroupByKey()
        | "Write rejects" >> beam.MapTuple(lambda stream, rejects: write_rejects(out, stream, rejects))
    )


@contextmanager
def _telling(out: Path) -> Iterator[None]:
    """Beam wraps what a worker raises in its own traceback, so a FunnelError's text is left in a file too."""
    try:
        yield
    except FunnelError as error:
        (out / ERROR).write_text(json.dumps(str(error)))
        raise


class Encode(beam.DoFn):
    """(number, source) → (partition, (stream, Arrow IPC bytes)), with tallies and rejects aside."""

    def __init__(self, config: PreprocessConfig, shards: int, out: Path) -> None:
        self.config, self.shards, self.out = config, shards, out

    def process(self, numbered: tuple[int, Source]) -> Iterator:
        with _telling(self.out):
            yield from self.encode(*numbered)

    def encode(self, number: int, source: Source) -> Iterator:
        """The batches of one file."""
        config, stream = self.config, source.stream
        yield beam.pvalue.TaggedOutput(TALLIES, encode.Tally(stream))  # an empty file still counts its stream
        for batch in read(source, config.logs[stream], raw_columns(config, stream)):
            yield beam.pvalue.TaggedOutput(TALLIES, encode.tally(config, source, batch))
            if batch.rejects:
                yield beam.pvalue.TaggedOutput(REJECTS, (stream, batch.rejects))
            if len(batch.lines):
                impressions = stream == config.rows
                table = encode.encode_impressions(config, source, number, batch) if impressions else encode.encode_events(batch)
                for partition, rows in encode.cut(table, self.shards):
                    yield partition, (stream, encode.to_ipc(rows))
        mark(self.out, f"read-{number}")


class WritePartition(beam.DoFn):
    """(partition, its batches) → shards on disk and a Partial, with the duplicates as rejects aside."""

    def __init__(self, config: PreprocessConfig, sources: list[Source], shards: int, out: Path) -> None:
        self.config, self.sources, self.shards, self.out = config, sources, shards, out

    def process(self, grouped: tuple[int, Iterable], calendar: Calendar) -> Iterator:
        with _telling(self.out):
            yield from self.write(*grouped, calendar)

    def write(self, number: int, batches: Iterable[tuple[str, bytes] | None], calendar: Calendar) -> Iterator:
        """One partition; a batch is None where the partition was only visited."""
        tables: dict[str, list[pa.Table]] = {}
        for stream, data in filter(None, batches):
            tables.setdefault(stream, []).append(encode.from_ipc(data))
        rows = self.config.rows
        impressions = pa.concat_tables(tables[rows]) if rows in tables else encode.no_impressions(self.config)
        events = {
            stream: pa.concat_tables(tables[stream]) if stream in tables else join.empty_events()
            for stream in self.config.logs
            if stream != rows
        }
        partial = write_partition(self.config, number, self.shards, impressions, events, calendar, self.out)
        if partial.duplicates:
            rejects = [Reject(self.sources[f].name, line, "duplicate", id_) for f, line, id_ in partial.duplicates]
            yield beam.pvalue.TaggedOutput(REJECTS, (rows, rejects))
        mark(self.out, f"write-{number}")
        yield partial


def write_rejects(out: Path, stream: str, rejects: Iterable[list[Reject]]) -> None:
    """rejects/<stream>.jsonl: one object a row, by file and line."""
    flat = sorted((r for some in rejects for r in some), key=lambda r: (r.file, r.line, r.reason))
    (out / "rejects").mkdir(exist_ok=True)
    with (out / "rejects" / f"{stream}.jsonl").open("w") as file:
        file.writelines(json.dumps(vars(r), ensure_ascii=False) + "\n" for r in flat)


def _keep(results: beam.PCollection, name: str, out: Path) -> None:
    """All elements of a small collection, in one file of the staging directory."""
    (
        results
        | f"{name}: key" >> beam.Map(lambda result: (0, result))
        | f"{name}: gather" >> beam.GroupByKey()
        | f"{name}: keep" >> beam.MapTuple(lambda _, all_: (out / f"{name}.pickle").write_bytes(pickle.dumps(list(all_))))
    )


def _load(out: Path, name: str) -> list[encode.Tally] | list[Partial]:
    path = out / f"{name}.pickle"
    result = pickle.loads(path.read_bytes())
    path.unlink()
    return result
