"""What a bad line costs, in good ones: files of one kind of bad lines each are read and validated
as the preprocessing job does, beside the same number of good lines.

Prints for each kind the processor time of a file over that of the good file, where every line is
bad and where one in a hundred is; ends with a JSON object of the largest ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import finish
from pipeline.config import Stream
from pipeline.rows.batch import ColumnRequest
from pipeline.rows.read import read_source
from pipeline.sources.files import find

Line = Callable[[int], bytes]
T0 = 1_790_000_000
COLUMNS = (("user", "text"), ("n", "number"), ("k", "integer"))


def csv(id_: str = "i%d", time_: str = "%d", user: str = "u%d", n: str = "%d.5") -> Line:
    """Lines of id, ts, user, n and k, each a pattern of the line's number."""

    def line(i: int) -> bytes:
        values = [id_, time_ % (T0 + i) if "%d" in time_ else time_, user, n, "7"]
        return ",".join(v % i if "%d" in v else v for v in values).encode("latin-1")

    return line


def json(user: str = '"u%d"', n: str = "%d.5", end: str = "}") -> Line:
    """Objects of the same columns."""

    def line(i: int) -> bytes:
        u, m = (v % i if "%d" in v else v for v in (user, n))
        text = f'{{"id": "i{i}", "ts": {T0 + i}, "user": {u}, "n": {m}, "k": 7{end}'
        return text.encode("latin-1")

    return line


KINDS: dict[str, dict[str, Line]] = {
    "csv": {
        "a value too few": lambda i: b"i%d,%d,u%d" % (i, T0 + i, i),
        "a quoted value too few": lambda i: b'i%d,%d,"u%d"' % (i, T0 + i, i),
        "a quote that does not end": csv(user='"u%d'),
        "a carriage return": csv(user="u\r%d"),
        "no id": csv(id_=""),
        "no time": csv(time_="soon"),
        "a day that is none": csv(time_="2026-02-30"),
        "no number": csv(n="1.%d.2"),
        "no integer": lambda i: csv()(i) + b"x%d" % i,
        "not UTF-8": csv(id_="\xff%d"),
        "a letter": lambda i: b"x",
    },
    "csv, multi-line": {
        "an open quote": lambda i: b'"x%d' % i,
        "an open quote in two lines": lambda i: b'"' if i % 2 else b"x%d" % i,
    },
    "jsonl": {
        "cut short": json(end=""),
        "no number": json(n='"x%d"'),
        "an object for a text": json(user='{"a": %d}'),
        "not UTF-8": json(user='"\xff%d"'),
        "not UTF-8, no number": json(user='"\xff%d"', n='"x%d"'),
        "two objects": lambda i: json()(i) + b" {}",
        "an array": lambda i: b"[%d]" % i,
        "a letter": lambda i: b"x",
    },
}


def write(path: Path, good: Line, bad: Line, lines: int, every: int) -> None:
    """`lines` lines, of which each `every`-th is bad but the first; 0 for none."""
    header = [] if path.suffix == ".jsonl" else [b"id,ts,user,n,k"]
    body = [bad(i) if every and i > 1 and i % every == 0 else good(i) for i in range(1, lines + 1)]
    path.write_bytes(b"\n".join([*header, *body]) + b"\n")


def seconds(path: Path, multiline: bool, tries: int) -> tuple[float, int]:
    """(processor seconds of the fastest of some readings, the number of rejects)."""
    stream = Stream(files=str(path), id="id", time="ts", multiline=multiline)
    (source,) = find("files", "impressions", stream, stream.files)
    best, rejected = float("inf"), 0
    for _ in range(tries):
        start = time.process_time()
        rejected = sum(
            b.rejected.total() for b in read_source(source, stream, ColumnRequest(COLUMNS))
        )
        best = min(best, time.process_time() - start)
    return best, rejected


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python benchmarks/bad_lines.py --lines 20000"
    )
    parser.add_argument("--lines", type=int, default=300_000, help="lines of a file")
    parser.add_argument("--only", default="", help="the beginning of the files' names")
    parser.add_argument(
        "--tries", type=int, default=3, help="readings, of which the fastest counts"
    )
    args = parser.parse_args()
    table, all_bad, one_in_100 = [["file", "µs a good line", "all bad", "1 in 100 bad"]], [], []
    with tempfile.TemporaryDirectory() as folder:
        for kind, bads in KINDS.items():
            if not kind.startswith(args.only):
                continue
            suffix, multiline = kind.partition(",")[0], kind.endswith("multi-line")
            path, good = Path(folder) / f"log.{suffix}", (csv if suffix == "csv" else json)()
            write(path, good, good, args.lines, 0)
            seconds(path, multiline, 1)  # imports
            base, _ = seconds(path, multiline, args.tries)
            for name, bad in bads.items():
                ratios = []
                for every in (1, 100):
                    write(path, good, bad, args.lines, every)
                    took, rejected = seconds(path, multiline, args.tries)
                    assert rejected >= args.lines // every // 2, (kind, name, rejected)
                    ratios.append(took / base)
                print(f"· {kind}: {name} {ratios[0]:.2f} {ratios[1]:.2f}", flush=True)
                table.append(
                    [
                        f"{kind}: {name}",
                        f"{1e6 * base / args.lines:.2f}",
                        *(f"{r:.2f}" for r in ratios),
                    ]
                )
                all_bad.append(ratios[0])
                one_in_100.append(ratios[1])
    finish(table, {"all_bad": max(all_bad), "one_in_100_bad": max(one_in_100)})


if __name__ == "__main__":
    main()
