"""Preprocessing: against its limit, against other ways to make TFRecords, and with growing input.

`wall_over_limit`: the job on Beam's default runner, without start-up, over the same functions in
one loop (benchmarks/limit.py); both write the same bytes. `wall_over_script`: over an independent
script (benchmarks/straight_line.py). `times_tft`: rows/s over TensorFlow Transform's reading CSV,
its documented way, and `times_tft_parquet` over its fastest; it hashes and standardizes the same
columns, but joins nothing. `time_growth_1m_8m`: time per row at 8 M impressions over that at 1 M,
less one. `peak_over_input`: peak memory at 8 M over the input's size in Arrow. Medians of
interleaved rounds; start-up is what a job of 2,000 impressions takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # before this folder, whose pipeline.py would hide the package

import pyarrow.parquet as pq

from benchmarks import machine, straight_line
from benchmarks.limit import Clock
from benchmarks.limit import straight_line as limit_way
from benchmarks.pipeline_logs import make_logs, shards
from benchmarks.preprocess_once import make_config
from pipeline.job import preprocess

HERE = Path(__file__).resolve().parent
TFT = ".venv-peers-tft/bin/python"
SMALL = 2000  # impressions of a job that takes next to nothing but its start-up
ROWS, TFT_ROWS, FEW, MANY = 2_000_000, 200_000, 1_000_000, 8_000_000
JOB, LIMIT, SCRIPT, START = "job", "straight-line", "independent script", "start-up"
Found = tuple[list[list[str]], dict[str, float]]  # rows of the table, results


def cells(name: str, rows: int, seconds: float, ratio: float | None = None) -> list[str]:
    return [
        name,
        f"{rows:,}",
        f"{seconds:.2f}",
        f"{rows / seconds:,.0f}",
        "" if ratio is None else f"{ratio:.2f}",
    ]


def log(folder: Path, impressions: int) -> Path:
    """Writes the logs unless they exist."""
    path = folder / f"logs-{impressions}"
    if not path.exists():
        print(f"· writing {impressions:,} impressions", flush=True)
        make_logs(path, impressions)
    return path


def against_limit(folder: Path, scale: float, rounds: int) -> Found:
    """The job, the limit and the independent script, in this process."""
    rows = int(ROWS * scale)
    logs, small = log(folder, rows), make_config(log(folder, SMALL), SMALL)
    config, clocks, written = make_config(logs, rows), [], {}

    def job() -> None:
        written[JOB] = preprocess(config, folder / "job")["shards"]

    def limit() -> None:
        clocks.append(Clock())
        written[LIMIT] = limit_way(config, folder / "limit", clocks[-1])["shards"]

    ways = {
        JOB: job,
        LIMIT: limit,
        SCRIPT: lambda: straight_line.run(logs, folder / "script", shards(rows)),
        START: lambda: preprocess(small, folder / "started"),
    }
    ways[START]()  # the first pays for imports
    times = machine.interleave(
        {name: partial(machine.seconds, way) for name, way in ways.items()}, rounds
    )
    if written[JOB] != written[LIMIT]:
        raise RuntimeError(
            "the job and the straight-line way wrote different shards: they do not do the same work"
        )
    apart = [whole - start for whole, start in zip(times[JOB], times[START], strict=True)]
    compared = {
        JOB: times[JOB],
        f"{JOB}, start-up apart": apart,
        LIMIT: times[LIMIT],
        SCRIPT: times[SCRIPT],
    }
    table = [
        cells(way, rows, median(t), machine.ratio(t, times[LIMIT])) for way, t in compared.items()
    ]
    base = median(times[LIMIT])
    stages = {
        stage: median(clock.seconds[stage] for clock in clocks) for stage in clocks[0].seconds
    }
    table += [
        cells(f"  {s}", rows, t, t / base)
        for s, t in (stages | {"other": base - sum(stages.values())}).items()
    ]
    ratios = {
        "wall_over_limit": machine.ratio(apart, times[LIMIT]),
        "wall_over_script": machine.ratio(apart, times[SCRIPT]),
    }
    return table, ratios | {"rows_per_second": rows / median(apart)}


def against_tft(folder: Path, scale: float, rounds: int, python: str) -> Found:
    """Rows/s of ours on the 2 M log and of TFT on a smaller one, without start-up on both sides."""
    rows, few = int(ROWS * scale), max(SMALL, int(TFT_ROWS * scale))
    logs, small, theirs = log(folder, rows), log(folder, SMALL), log(folder, few)

    def ours() -> float:
        start, whole = (_once(path, n)["seconds"] for path, n in ((small, SMALL), (logs, rows)))
        return rows / (whole - start)

    def tft(kind: str) -> float:
        return _last_json([python, str(HERE / "peer_tft.py"), str(theirs), "--kind", kind])[
            "rows_per_second"
        ]

    speeds = machine.interleave(
        {JOB: ours, "TFT, CSV": partial(tft, "csv"), "TFT, Parquet": partial(tft, "parquet")},
        rounds,
    )
    counts = {JOB: rows, "TFT, CSV": few, "TFT, Parquet": few}
    table = [
        cells(f"{way}, start-up apart", n, n / median(speeds[way])) for way, n in counts.items()
    ]
    ratio = {way: machine.ratio(speeds[JOB], found) for way, found in speeds.items()}
    return table, {"times_tft": ratio["TFT, CSV"], "times_tft_parquet": ratio["TFT, Parquet"]}


def growing(folder: Path, scale: float, rounds: int) -> Found:
    """The job at 1 M and 8 M impressions, each in a process of its own."""
    sizes = {"few": int(FEW * scale), "many": int(MANY * scale), START: SMALL}
    paths = {name: log(folder, rows) for name, rows in sizes.items()}
    peaks: list[float] = []

    def run(name: str) -> float:
        done = _once(paths[name], sizes[name])
        if name == "many":
            peaks.append(done["peak"])
        return done["seconds"]

    times = machine.interleave({name: partial(run, name) for name in sizes}, rounds)
    table = [
        cells(f"job at {rows:,}", rows, median(times[name]))
        for name, rows in sizes.items()
        if name != START
    ]
    each = {
        name: [(t - s) / sizes[name] for t, s in zip(times[name], times[START], strict=True)]
        for name in ("few", "many")
    }
    size = sum(
        batch.nbytes
        for path in paths["many"].rglob("*.parquet")
        for batch in pq.ParquetFile(path).iter_batches()
    )
    print(
        f"· {sizes['many']:,} impressions: peak {max(peaks) / machine.GIB:.2f} GiB, input in "
        f"Arrow {size / machine.GIB:.2f} GiB",
        flush=True,
    )
    return table, {
        "time_growth_1m_8m": machine.ratio(each["many"], each["few"]) - 1,
        "peak_over_input": max(peaks) / size,
    }


def _once(path: Path, rows: int) -> dict[str, float]:
    return _last_json([sys.executable, str(HERE / "preprocess_once.py"), str(path), str(rows)])


def _last_json(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python benchmarks/pipeline.py --quick",
    )
    parser.add_argument(
        "--only", choices=("limit", "tft", "growth"), help="one of the comparisons (default: all)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="interleaved rounds (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round")
    parser.add_argument(
        "--tft",
        default=str(HERE.parent / TFT),
        help=f"Python of TFT's environment (default: {TFT})",
    )
    arguments = parser.parse_args()
    scale, rounds = (0.1, 1) if arguments.quick else (1.0, arguments.rounds)
    ways: dict[str, Callable[[Path], Found]] = {
        "limit": lambda folder: against_limit(folder, scale, rounds),
        "tft": lambda folder: against_tft(folder, scale, rounds, arguments.tft),
        "growth": lambda folder: growing(folder, scale, rounds),
    }
    chosen = [arguments.only] if arguments.only else list(ways)
    if "tft" in chosen and not Path(arguments.tft).exists():
        print(
            f"· {arguments.tft} is not there, so TensorFlow Transform is left out; `make "
            "bench-peers` makes it",
            flush=True,
        )
        chosen.remove("tft")
    table, result = [["", "rows", "seconds", "rows/s", "of the limit"]], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            rows, found = ways[name](Path(folder))
            table += rows
            result |= found
    machine.finish(table, result)


if __name__ == "__main__":
    main()
