"""Impressions per second, simulated and written, for each format, in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # before this folder, whose pipeline.py would hide the package

from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.simulate import simulate


def speeds(impressions: int) -> dict[str, float]:
    """Impressions per second by format; text is gzipped, and the one-off drawing of users and items
    counts.
    """
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("parquet", "jsonl", "csv"):
            config = SimulateConfig(impressions=impressions, format=name, compress=True)
            start = time.perf_counter()
            simulate(config, Path(folder) / name)
            result[name] = impressions / (time.perf_counter() - start)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python benchmarks/simulate.py --impressions 1000000"
    )
    parser.add_argument(
        "--impressions",
        type=int,
        default=1_000_000,
        help="impressions per format (default: %(default)s)",
    )
    result = speeds(parser.parse_args().impressions)
    for name, speed in result.items():
        slowest, fastest = speed / min(result.values()), speed / max(result.values())
        print(
            f"{name:8} {speed:10,.0f} impressions/s   {slowest:.2f} × the slowest   {fastest:.2f} "
            "× the fastest"
        )
    print(json.dumps({name: round(speed) for name, speed in result.items()}))


if __name__ == "__main__":
    main()
