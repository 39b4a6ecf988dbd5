"""The Beam job: files → encoded batches → partitions → shards."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms import combiners

from features.errors import FunnelError, named_in, nearest
from features.files import staging
from pipeline.config import PreprocessConfig
from pipeline.labeling.attribution import Attribute
from pipeline.labeling.split import calendar_of
from pipeline.output import publish
from pipeline.output.progress import ProgressMonitor
from pipeline.output.reject_limit import StreamLimit
from pipeline.output.rejects import join_rejects
from pipeline.output.results import PartitionResult
from pipeline.output.worker_errors import any_error, raise_first
from pipeline.plan import Plan, make_plan
from pipeline.sources.storage import connect
from pipeline.spans import fold_spans
from pipeline.statistics.streams import StreamCounts, fold_streams
from pipeline.steps import (
    COUNTS,
    RESULTS,
    Encode,
    WritePartition,
    calendar_of_spans,
    cut_source,
)
from pipeline.typed_json import read_all, write_all
from pipeline.workers.driver import workers

T = TypeVar("T")


def preprocess(
    config: PreprocessConfig,
    out: Path,
    beam_args: Iterable[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
    inform: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Runs the whole job and publishes a preprocessed directory. Nothing is left behind where it
    fails.

    Args:
        config: what to read and write.
        out: the directory, replaced if it exists.
        beam_args: Beam's own options; without --runner the job runs in this process.
        on_progress: called about twice a second with (done, total), in files read and shards
            written.
        inform: called with a line on the files of each stream before the job starts.

    Returns:
        The manifest.

    Raises:
        FunnelError: the configuration, the logs or Beam's options cannot be used.
    """
    beam_args = list(beam_args)
    connect(beam_args)
    plan = make_plan(config, inform)
    with staging(out) as beside:
        limits = [StreamLimit(config, plan.sources, name, beside) for name in config.logs]

        def check() -> None:
            for limit in limits:
                limit.check()

        with ProgressMonitor(beside, len(plan.sources) + plan.shards, on_progress, check):
            _in_a_thread(lambda: _run(plan, beside, beam_args))
        raise_first(beside)
        join_rejects(beside, plan.sources)
        counts = _take(beside, COUNTS, StreamCounts)
        results = _take(beside, RESULTS, PartitionResult)
        return finish(plan, counts, results, beside)


def finish(
    plan: Plan, counts: list[StreamCounts], results: list[PartitionResult], out: Path
) -> dict[str, Any]:
    """Writes all files but the shards, and returns the manifest."""
    totals, sample = fold_streams(counts)
    spans = {name: total.spans for name, total in totals.items()}
    calendar = calendar_of(plan.config, spans)
    return publish.describe(
        plan.config, plan.sources, plan.vocabularies, totals, sample, calendar, results, out
    )


def build(pipeline: beam.Pipeline, plan: Plan, out: Path) -> None:
    """Adds the steps: files → pieces → Encode → (partition, batch) → group → WritePartition.

    Counts, results, rejects and errors are written beside the shards.
    """
    config = plan.config
    encoded = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(plan.sources)))
        | "Spread files" >> beam.Reshuffle()
        | "Cut" >> beam.FlatMap(cut_source, config, out)
        | "Spread pieces" >> beam.Reshuffle()
        | "Encode" >> beam.ParDo(Encode(plan, out)).with_outputs(COUNTS, main="batches")
    )
    calendar = (
        encoded[COUNTS]
        | "Times" >> beam.Map(lambda counts: (counts.stream, counts.spans))
        | "Times of a stream" >> beam.GroupByKey()
        | "Fold" >> beam.MapTuple(lambda stream, parts: (stream, fold_spans(parts)))
        | "All" >> combiners.ToDict()
        | "Calendar" >> beam.Map(lambda spans: calendar_of_spans(config, spans, out))
    )
    written = (
        encoded["batches"]
        | Attribute(config, plan.shards)
        | "Group" >> beam.GroupByKey()
        | "Write"
        >> beam.ParDo(WritePartition(config, plan.shards, out), beam.pvalue.AsSingleton(calendar))
    )
    _keep(encoded[COUNTS], COUNTS, StreamCounts, out)
    _keep(written, RESULTS, PartitionResult, out)


def _run(plan: Plan, out: Path, beam_args: list[str]) -> None:
    """Runs the pipeline. A FunnelError of a worker is recorded, not raised."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    runner = None
    if not any(arg.startswith("--runner") for arg in beam_args):
        _check_options(beam_args)
        # Named, since the plain DirectRunner tries to download another engine first.
        runner = FnApiRunner()
    try:
        with _pipeline(runner, beam_args, out) as pipeline:
            build(pipeline, plan, out)
    except Exception as error:
        if not any_error(out):
            raise (named_in(str(error), out) or error) from None


def _pipeline(runner: FnApiRunner | None, beam_args: list[str], out: Path) -> beam.Pipeline:
    """A pipeline whose temporary directory is not in TMPDIR, where a killed job would leave it."""
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(beam_args))
    shutil.rmtree(pipeline.local_tempdir)
    pipeline.local_tempdir = str(out / ".beam")
    return pipeline


def _in_a_thread(work: Callable[[], None]) -> None:
    """Does the work in a thread of its own and waits for it, or for the death of a worker process.
    Worker processes end with it.

    Beam calls our code in the thread that starts a pipeline: it takes an exception that a signal
    raises there for an error of ours, and a job of several processes never ends. Raised here it
    ends the waiting at once, and the thread with the process.
    """
    done: Future[None] = Future()

    def ended(error: BaseException | None = None) -> None:
        with suppress(InvalidStateError):  # a worker's death comes before the runner's own error
            done.set_exception(error) if error else done.set_result(None)

    def call() -> None:
        try:
            work()
            ended()
        except BaseException as error:
            ended(error)

    with workers(on_death=ended):
        threading.Thread(target=call, daemon=True).start()
        done.result()


def _check_options(beam_args: list[str]) -> None:
    """Raises FunnelError for an option of this process's runner that Beam would drop silently."""
    given, known = (
        PipelineOptions(beam_args).get_all_options(retain_unknown_options=retain)
        for retain in (True, False)
    )
    for option in given.keys() - known.keys():
        raise FunnelError(f"--{option} is not an option of Beam: {nearest(option, known)}")
    # Seen with Beam 2.77: 7,422 of 1,000,000 rows never came out of a shuffle.
    if known.get("direct_running_mode") == "multi_threading":
        raise FunnelError(
            "--direct_running_mode=multi_threading: Beam loses rows in this mode; "
            "give multi_processing, or leave it out"
        )


def _keep(results: PCollection[Any], name: str, kind: type, out: Path) -> None:
    """Writes all elements of a small collection to one file of the staging directory."""
    (
        results
        | f"{name}: key" >> beam.Map(lambda result: (0, result))
        | f"{name}: gather" >> beam.GroupByKey()
        | f"{name}: keep"
        >> beam.MapTuple(lambda _, all_: write_all(out / f"{name}.json", kind, list(all_)))
    )


def _take(out: Path, name: str, kind: type[T]) -> list[T]:
    """Reads and removes what `_keep` wrote."""
    path = out / f"{name}.json"
    kept = read_all(path, kind)
    path.unlink()
    return kept
