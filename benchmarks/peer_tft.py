"""Rows/s of TensorFlow Transform on the impressions of benchmarks/pipeline_logs.py. Runs in its own
environment; the last line is JSON.

Hashes the 20 categorical columns, standardizes the 5 numeric ones and writes TFRecords: no join, no
labels, no id. Like our job on Beam's FnApiRunner, which is named since the plain DirectRunner tries
to fetch another engine from the network first.

`parquet`, the default, is its fastest way by far: Arrow record batches in and out, made into the
lists that TFT wants by a step of our own, since its ParquetTFXIO reads only files of lists. `csv`
is its documented way, CsvTFXIO; the CSV is made before the clock. Jobs of 2,000 rows run first:
what the quicker one after the first takes is the start-up, tracing included. `rows_per_second` is
with that taken off, `whole_rows_per_second` without.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


@contextmanager
def quiet() -> Iterator[None]:
    """Silences stderr, where TensorFlow's C++ prints before it has read its log level."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with quiet():
    import apache_beam as beam
    import numpy as np
    import pipeline_logs
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from pipeline_logs import CATEGORICAL, NUMERIC
    from tensorflow_transform.tf_metadata import schema_utils
    from tfx_bsl.public import tfxio

COLUMNS = [*CATEGORICAL, *NUMERIC]
SMALL = 2000


def preprocess(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """TFT's preprocessing_fn."""
    ids = {name: tft.hash_strings(columns[name], buckets) for name, buckets in CATEGORICAL.items()}
    return ids | {name: tft.scale_to_z_score(columns[name]) for name in NUMERIC}


def make_reader(files: str) -> tfxio.CsvTFXIO:
    """CSV files; its Arrow schema and tensors are those of the Parquet files, too."""
    types = dict.fromkeys(CATEGORICAL, tf.string) | dict.fromkeys(NUMERIC, tf.float32)
    schema = schema_utils.schema_from_feature_spec(
        {name: tf.io.FixedLenFeature([], kind) for name, kind in types.items()}
    )
    return tfxio.CsvTFXIO(
        files,
        column_names=COLUMNS,
        schema=schema,
        skip_header_lines=1,
        telemetry_descriptors=["benchmark"],
    )


def as_lists(table: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Each value a list of one."""
    for batch in table.to_batches():
        offsets = pa.array(np.arange(len(batch) + 1))
        lists = [
            pa.LargeListArray.from_arrays(offsets, batch[field.name].cast(field.type.value_type))
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(lists, schema=schema)


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Serialized tf.Examples."""
    return tfxio.RecordBatchToExamplesEncoder().encode(batch)


def transform(kind: str, files: str, out: Path) -> float:
    """Seconds of one job, from the files to finished TFRecords."""
    reader, runner, start = make_reader(files), FnApiRunner(), time.perf_counter()
    with beam.Pipeline(runner=runner) as pipeline, tft_beam.Context(temp_dir=str(out / "temp")):
        if kind == "csv":
            batches = pipeline | reader.BeamSource()
        else:
            tables = pipeline | beam.io.ReadFromParquetBatched(files, columns=COLUMNS)
            batches = tables | beam.FlatMap(as_lists, reader.ArrowSchema())
        dataset = (batches, reader.TensorAdapterConfig())
        (transformed, _), _ = dataset | tft_beam.AnalyzeAndTransformDataset(
            preprocess, output_record_batches=True
        )
        examples = transformed | "Encode" >> beam.FlatMapTuple(lambda batch, _: encode(batch))
        examples | beam.io.WriteToTFRecord(str(out / "part"), file_name_suffix=".tfrecord")
    return time.perf_counter() - start


def find_files(kind: str, folder: Path, made: Path) -> str:
    """The pattern of the impressions' files; as CSV they are written into `made` first."""
    if kind == "parquet":
        return str(folder / "impressions" / "*.parquet")
    made.mkdir()
    for path in (folder / "impressions").glob("*.parquet"):
        pyarrow.csv.write_csv(pq.read_table(path, columns=COLUMNS), made / f"{path.stem}.csv")
    return str(made / "*.csv")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where impressions/ is")
    parser.add_argument(
        "--kind",
        choices=["parquet", "csv"],
        default="parquet",
        help="what it reads (default: %(default)s)",
    )
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = sum(
        pq.read_metadata(path).num_rows
        for path in (arguments.folder / "impressions").glob("*.parquet")
    )
    with quiet(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipeline_logs.make_logs(folder / "logs", SMALL)
        small = find_files(arguments.kind, folder / "logs", folder / "small")
        files = find_files(arguments.kind, arguments.folder, folder / "csv")
        _, *starts, seconds = (
            transform(arguments.kind, f, folder / f"out{i}")
            for i, f in enumerate((small, small, small, files))
        )
    start = min(starts)
    speeds = {"rows_per_second": rows / (seconds - start), "whole_rows_per_second": rows / seconds}
    print(json.dumps(speeds | {"rows": rows, "seconds": seconds, "start_seconds": start}))


if __name__ == "__main__":
    main()
