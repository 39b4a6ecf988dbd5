"""Training speed next to what users would pick instead: DeepCTR on TensorFlow and torch-rechub on PyTorch.

The same MMoE and batch for all (benchmarks/shape.py), random data in memory, each peer's own training loop and default
Adam. Every measurement is a process of its own; the three take turns, so that a machine that drifts slows all alike.
Run by `make bench-peers`, which makes an environment for each peer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine, shape

HERE = Path(__file__).resolve().parent
OURS = "funnel"


def rows_per_second(command: list[str], key: str) -> float:
    """Runs a worker and reads the JSON of its last line. RuntimeError with the end of its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])[key]


def peer(python: str, name: str, size: int, steps: int) -> float:
    """One measurement of a peer, in its own environment."""
    flags = ["--rows-per-table", str(size), "--steps", str(steps)]
    return rows_per_second([python, str(HERE / f"peer_{name}.py"), *flags], "rows_per_second")


def ours(size: int, steps: int) -> float:
    """One measurement of ours: benchmarks/train.py at one size."""
    flags = ["--rows-per-table", str(size), "--steps", str(steps), "--rounds", "1", "--only", "vocabulary"]
    return rows_per_second([sys.executable, str(HERE / "train.py"), *flags], f"rows_per_second_{shape.size_label(size)}")


def compare(pythons: dict[str, str], sizes: list[int], steps: int, rounds: int) -> tuple[list[list[str]], dict[str, float]]:
    """(table, result): how many times the rows/s of each peer ours reaches, the median over the rounds."""
    table, result = [["rows a table", "trainer", "rows/s", "ours is"]], {}
    for size in sizes:
        print(f"· {size:,} rows a table", flush=True)
        measured = {OURS: partial(ours, size, steps)} | {n: partial(peer, python, n, size, steps) for n, python in pythons.items()}
        speeds = machine.interleave(measured, rounds)
        for name, found in speeds.items():
            times = machine.ratio(speeds[OURS], found)
            table.append([f"{size:,}", name, f"{median(found):,.0f}", f"{times:.2f} ×"])
            if name != OURS:
                result[f"times_{name}_{shape.size_label(size)}"] = times
    return table, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python benchmarks/peers.py --deepctr .venv-peers-deepctr/bin/python --only deepctr",
    )
    parser.add_argument("--deepctr", metavar="PYTHON", help="the Python of an environment with requirements-deepctr.txt")
    parser.add_argument("--rechub", metavar="PYTHON", help="the Python of an environment with requirements-rechub.txt")
    parser.add_argument("--only", choices=["deepctr", "rechub"], help="one peer instead of both")
    parser.add_argument(
        "--rows-per-table", type=int, nargs="+", default=[10_000, 400_000], metavar="N", help="table sizes (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed, after a warm-up (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of two steps: shows that it runs, measures nothing")
    arguments = parser.parse_args()
    wanted = [arguments.only] if arguments.only else ["deepctr", "rechub"]
    pythons = {name: getattr(arguments, name) for name in wanted}
    missing = [name for name, python in pythons.items() if not python]
    if missing:
        parser.error(f"--{missing[0]} is missing: give its environment's Python, or run make bench-peers, which makes one")
    steps, rounds = (2, 1) if arguments.quick else (arguments.steps, arguments.rounds)
    machine.finish(*compare(pythons, arguments.rows_per_table, steps, rounds))


if __name__ == "__main__":
    main()
