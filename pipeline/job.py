"""The Beam job: files → encoded batches → partitions → shards. Steps are composite; their logic is
in pure functions elsewhere.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from features.errors import FunnelError, nearest
from features.files import staging
from pipeline.checks import check_config
from pipeline.config import PreprocessConfig
from pipeline.labeling.attribution import Attribute
from pipeline.labeling.split import Calendar, make_calendar
from pipeline.output import publish
from pipeline.output.progress import Watch, mark
from pipeline.partition import Partial, write_partition
from pipeline.rows import encode
from pipeline.rows.lookups import Lookups, resolve
from pipeline.rows.read import Batch, Piece, Reject, check_columns, pieces, read, wanted
from pipeline.sources.files import Source, connect, find_sources
from pipeline.sources.vocabularies import check_vocabularies
from pipeline.statistics.streams import Tally, fold_stream, fold_tallies, tally

TALLIES, REJECTS, PARTIALS = "tallies", "rejects", "partials"
ERROR = "error.json"


def preprocess(
    config: PreprocessConfig,
    out: Path,
    beam_args: Iterable[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Runs the whole job and publishes `out`; returns its manifest. Nothing is left behind when it
    fails.

    `beam_args` are Beam's own options (without --runner the job runs in this process).
    `on_progress(done, total)` is called about twice a second, in files read and shards written.
    """
    beam_args = list(beam_args)
    connect(beam_args)
    plan = make_plan(config)
    with staging(out) as beside:
        with Watch(beside, len(plan.sources) + plan.shards, on_progress):
            _run(plan, beside, beam_args)
        tallies, partials = _load(beside, TALLIES), _load(beside, PARTIALS)
        return finish(plan, tallies, partials, beside)


@dataclass(frozen=True)
class Plan:
    """What is known before a job starts: the files, the look-up tables of each stream, and the
    number of shards of a split.
    """

    config: PreprocessConfig
    sources: list[Source]
    lookups: dict[str, Lookups]
    shards: int


def make_plan(config: PreprocessConfig) -> Plan:
    """Checks all that can be checked before reading: raises FunnelError for files, columns or
    vocabularies that are not there.
    """
    check_config(config)
    check_vocabularies(config.spec)
    sources, lookups = find_sources(config), {}
    for stream, declared in config.logs.items():
        first = next(s for s in sources if s.stream == stream)
        columns = wanted(config, stream)
        lookups[stream] = resolve(stream, declared, first, columns.columns)
        check_columns(first, declared, columns, lookups[stream])
    shards = config.output.shards or max(
        1, -(-sum(s.size for s in sources) // config.output.shard_input)
    )
    return Plan(config, sources, lookups, shards)


def finish(plan: Plan, tallies: list[Tally], partials: list[Partial], out: Path) -> dict:
    """Writes all files but the shards, and returns the manifest."""
    totals, sample = fold_tallies(tallies)
    calendar = make_calendar(plan.config, {name: total.last_time for name, total in totals.items()})
    return publish.describe(plan.config, plan.sources, totals, sample, calendar, partials, out)


def _run(plan: Plan, out: Path, beam_args: list[str]) -> None:
    """Runs the pipeline. A FunnelError raised in any worker is raised again here, without Beam's
    traceback around it.
    """
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    # Named, since the plain DirectRunner tries to fetch another engine from the network first.
    runner = None if any(a.startswith("--runner") for a in beam_args) else FnApiRunner()
    if runner:
        _know_every_option(beam_args)
    try:
        with beam.Pipeline(runner=runner, options=PipelineOptions(beam_args)) as pipeline:
            build(pipeline, plan, out)
    except Exception as error:
        raised = out / ERROR
        if raised.exists():
            raise FunnelError(json.loads(raised.read_text())) from error
        raise


def _know_every_option(beam_args: list[str]) -> None:
    """Beam itself drops an option that it does not know; other runners than this process's have
    options of their own.
    """
    given, known = (
        PipelineOptions(beam_args).get_all_options(retain_unknown_options=retain)
        for retain in (True, False)
    )
    for option in given.keys() - known.keys():
        raise FunnelError(f"--{option} is no option of Beam: {nearest(option, known)}")
    if (
        known.get("direct_running_mode") == "multi_threading"
    ):  # seen with Beam 2.77: 7,422 of 1,000,000 rows never came out of a shuffle
        raise FunnelError(
            "--direct_running_mode=multi_threading: Beam loses rows in this mode; give multi_processing, or leave it out"
        )


def build(pipeline: beam.Pipeline, plan: Plan, out: Path) -> None:
    """files → pieces → Encode → (partition, batch) → group → WritePartition; tallies, partials and
    rejects land beside the shards.
    """
    config = plan.config
    read_ = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(plan.sources)))
        | "Spread files" >> beam.Reshuffle()
        | "Cut" >> beam.FlatMap(_cut, config, out)
        | "Spread pieces" >> beam.Reshuffle()
        | "Encode" >> beam.ParDo(Encode(plan, out)).with_outputs(TALLIES, REJECTS, main="batches")
    )
    calendar = (
        read_[TALLIES]
        | "Last times" >> beam.Map(lambda t: (t.stream, t.last_time or 0))
        | "Last time of a stream" >> beam.CombinePerKey(max)
        | "All" >> beam.combiners.ToDict()
        | "Calendar" >> beam.Map(lambda last: make_calendar(config, last))
    )
    written = (
        read_["batches"]
        | Attribute(config, plan.shards)
        | "Group" >> beam.GroupByKey()
        | "Write"
        >> beam.ParDo(WritePartition(plan, out), beam.pvalue.AsSingleton(calendar)).with_outputs(
            REJECTS, main="partials"
        )
    )
    _keep(read_[TALLIES], TALLIES, out)
    _keep(written["partials"], PARTIALS, out)
    (
        (read_[REJECTS], written[REJECTS])
        | "All rejects" >> beam.Flatten()
        | "By stream" >> beam.GroupByKey()
        | "Write rejects"
        >> beam.MapTuple(lambda stream, rejects: write_rejects(out, stream, rejects))
    )


def _cut(
    numbered: tuple[int, Source], config: PreprocessConfig, out: Path
) -> Iterator[tuple[int, int, Piece]]:
    """(number, source) → (number, number of the piece, piece)."""
    number, source = numbered
    with _telling(out):
        found = list(pieces(source, config.logs[source.stream]))
    mark(out, f"cut-{number}-{len(found)}")
    for at, piece in enumerate(found):
        yield number, at, piece


@contextmanager
def _telling(out: Path) -> Iterator[None]:
    """Beam wraps what a worker raises in its own traceback, so a FunnelError's text is left in a
    file too.
    """
    try:
        yield
    except FunnelError as error:
        (out / ERROR).write_text(json.dumps(str(error)))
        raise


class Encode(beam.DoFn):
    """(number, number of the piece, piece) → (partition, (stream, Arrow IPC bytes)), with tallies
    and rejects aside.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out

    def process(self, numbered: tuple[int, int, Piece]) -> Iterator:
        with _telling(self.out):
            yield from self.encode(*numbered)

    def encode(self, number: int, at: int, piece: Piece) -> Iterator:
        """The batches of one piece."""
        config, stream = self.plan.config, piece.source.stream
        if (
            number == at == 0
        ):  # every partition is visited, so that a shard is written even where no row fell
            yield from ((partition, None) for partition in range(self.plan.shards))
        tallies = [Tally(stream)]  # an empty file still counts its stream
        batches = read(
            piece, config.logs[stream], wanted(config, stream), self.plan.lookups[stream]
        )
        for batch in batches:
            table, tally = encode_batch(config, piece, number, batch)
            tallies.append(tally)
            if batch.rejects:
                yield beam.pvalue.TaggedOutput(REJECTS, (stream, batch.rejects))
            for partition, rows in encode.cut(table, self.plan.shards):
                yield partition, (stream, encode.to_ipc(rows))
        yield beam.pvalue.TaggedOutput(TALLIES, fold_stream(tallies))
        mark(self.out, f"read-{number}-{at}")


def encode_batch(
    config: PreprocessConfig, piece: Piece, number: int, batch: Batch
) -> tuple[pa.Table, Tally]:
    """What of a batch crosses the shuffle, and what it adds to the totals."""
    source = piece.source
    if source.stream != config.rows:
        return encode.encode_events(config, source.stream, batch), tally(config, source, batch)
    table, encoded = encode.encode_impressions(config, piece, number, batch)
    return table, tally(
        config, source, batch, encoded.hashed, encoded.ids, table["hash"].to_numpy()
    )


class WritePartition(beam.DoFn):
    """(partition, its batches) → shards on disk and a Partial, with the duplicates as rejects
    aside.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out

    def process(self, grouped: tuple[int, Iterable], calendar: Calendar) -> Iterator:
        with _telling(self.out):
            yield from self.write(*grouped, calendar)

    def write(
        self, number: int, batches: Iterable[tuple[str, bytes] | None], calendar: Calendar
    ) -> Iterator:
        """One partition; a batch is None where the partition was only visited."""
        config, tables = self.plan.config, {}
        for stream, data in filter(None, batches):
            tables.setdefault(stream, []).append(encode.from_ipc(data))
        impressions, events = encode.gather(config, tables)
        partial = write_partition(
            config, number, self.plan.shards, impressions, events, calendar, self.out
        )
        if partial.duplicates:
            rejects = [
                Reject(self.plan.sources[f].name, line, byte, "duplicate", id_)
                for f, line, byte, id_ in partial.duplicates
            ]
            yield beam.pvalue.TaggedOutput(REJECTS, (config.rows, rejects))
        mark(self.out, f"write-{number}")
        yield partial


def write_rejects(out: Path, stream: str, rejects: Iterable[list[Reject]]) -> None:
    """rejects/<stream>.jsonl: one object a row, by file and line."""
    flat = sorted(
        (r for some in rejects for r in some), key=lambda r: (r.file, r.line or r.byte, r.reason)
    )
    (out / "rejects").mkdir(exist_ok=True)
    with (out / "rejects" / f"{stream}.jsonl").open("w") as file:
        file.writelines(json.dumps(vars(r), ensure_ascii=False) + "\n" for r in flat)


def _keep(results: beam.PCollection, name: str, out: Path) -> None:
    """All elements of a small collection, in one file of the staging directory."""
    (
        results
        | f"{name}: key" >> beam.Map(lambda result: (0, result))
        | f"{name}: gather" >> beam.GroupByKey()
        | f"{name}: keep"
        >> beam.MapTuple(
            lambda _, all_: (out / f"{name}.pickle").write_bytes(pickle.dumps(list(all_)))
        )
    )


def _load(out: Path, name: str) -> list[Tally] | list[Partial]:
    path = out / f"{name}.pickle"
    result = pickle.loads(path.read_bytes())
    path.unlink()
    return result
