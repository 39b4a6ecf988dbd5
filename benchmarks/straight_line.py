"""The script that an engineer would write in an evening instead of our job: the same Parquet logs
to TFRecords, without our library or Beam.

Reads, hashes each distinct value once, joins clicks and conversions by id inside their windows,
drops rows whose windows are still open and writes packed tf.Examples in the order of their ids'
hash. It has one configuration, the one of benchmarks/pipeline_logs.py, which is all it shares with
the job; rejects, duplicates, statistics and a manifest it does not know.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import farmhash
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from benchmarks.pipeline_logs import CATEGORICAL, CLICK_WITHIN, CONVERT_WITHIN, NUMERIC

ROWS_AT_ONCE, NEVER = 16_384, np.iinfo(np.int64).max


def fingerprints(texts: pa.Array) -> np.ndarray:
    """FarmHash of each text: [n] uint64."""
    return np.fromiter(
        map(farmhash.fingerprint64, texts.cast(pa.binary()).to_pylist()), np.uint64, len(texts)
    )


def bucket(encoded: pa.DictionaryArray, buckets: int) -> np.ndarray:
    """[n] texts → [n] ids from 1; each distinct value is hashed once."""
    return (1 + fingerprints(encoded.dictionary) % np.uint64(buckets - 1)).astype(np.int32)[
        encoded.indices.to_numpy()
    ]


def read_impressions(folder: Path) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray]:
    """(id, time, ids [n, 20], dense [n, 5]), encoded file by file, so that the texts of one file
    alone are in memory.
    """
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, read_dictionary=list(CATEGORICAL))
        ids = np.empty((len(table), len(CATEGORICAL)), np.int32)
        for slot, (name, buckets) in enumerate(CATEGORICAL.items()):
            ids[:, slot] = bucket(table[name].combine_chunks(), buckets)
        dense = np.stack([table[name].to_numpy() for name in NUMERIC], axis=1).astype(np.float32)
        parts.append((table["id"].combine_chunks(), table["ts"].to_numpy(), ids, dense))
    names, *arrays = zip(*parts, strict=True)
    return pa.concat_arrays(names), *map(np.concatenate, arrays)


def first(names: pa.Array, since: np.ndarray, events: pa.Table, within: int) -> np.ndarray:
    """The time of each row's first event from `since` to `within` later, or NEVER."""
    rows = pc.index_in(events["id"], value_set=names).combine_chunks()
    known = rows.is_valid().to_numpy(zero_copy_only=False)
    rows, times, when = (
        rows.drop_null().to_numpy(),
        events["ts"].to_numpy()[known],
        np.full(len(names), NEVER),
    )
    elapsed = times - since[rows]
    inside = (elapsed >= 0) & (elapsed <= within)
    np.minimum.at(when, rows[inside], times[inside])
    return when


def lists(flat: np.ndarray | pa.Array, kind: pa.DataType, width: int = 1) -> pa.ListArray:
    """[n · width] → n lists."""
    return pa.ListArray.from_arrays(
        pa.array(np.arange(0, len(flat) + 1, width, dtype=np.int32)), pa.array(flat, kind)
    )


def framed(records: Iterable[bytes]) -> bytes:
    """TFRecords: length, masked crc32c of the length, record, masked crc32c of the record."""
    parts = []
    for record in records:
        for data in (struct.pack("<Q", len(record)), record):
            crc = google_crc32c.value(data)
            parts += (data, struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF))
    return b"".join(parts)


def run(folder: Path, out: Path, shards: int) -> dict[str, int]:
    """Writes `shards` TFRecord files into `out`. Returns how many rows, clicks and conversions they
    hold.
    """
    names, times, ids, dense = read_impressions(folder / "impressions")
    clicks, conversions = pq.read_table(folder / "clicks"), pq.read_table(folder / "conversions")
    click_times = first(names, times, clicks, CLICK_WITHIN)
    clicked, converted = (
        click_times < NEVER,
        first(names, click_times, conversions, CONVERT_WITHIN) < NEVER,
    )
    end = max(int(times.max()), *(pc.max(events["ts"]).as_py() for events in (clicks, conversions)))
    order = np.argsort(fingerprints(names))
    order = order[times[order] <= end - CLICK_WITHIN - CONVERT_WITHIN]
    out.mkdir(parents=True, exist_ok=True)
    for number, shard in enumerate(np.array_split(order, shards)):
        with (out / f"part-{number:05d}-of-{shards:05d}.tfrecord").open("wb") as file:
            for start in range(0, len(shard), ROWS_AT_ONCE):
                rows = shard[start : start + ROWS_AT_ONCE]
                columns = {
                    "ids": lists(ids[rows].reshape(-1), pa.int64(), ids.shape[1]),
                    "dense": lists(dense[rows].reshape(-1), pa.float32(), dense.shape[1]),
                    "click": lists(clicked[rows].astype(np.int64), pa.int64()),
                    "convert": lists(converted[rows].astype(np.int64), pa.int64()),
                    "id": lists(names.take(pa.array(rows)).cast(pa.binary()), pa.binary()),
                }
                file.write(
                    framed(
                        RecordBatchToExamplesEncoder().encode(pa.RecordBatch.from_pydict(columns))
                    )
                )
    return {
        "rows": len(order),
        "clicks": int(clicked[order].sum()),
        "conversions": int(converted[order].sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="where impressions/, clicks/ and conversions/ are"
    )
    parser.add_argument("out", type=Path, help="the folder of the shards")
    parser.add_argument("shards", type=int, help="how many")
    start = time.perf_counter()
    counts = run(**vars(parser.parse_args()))
    print(json.dumps({"seconds": time.perf_counter() - start, **counts}))


if __name__ == "__main__":
    main()
