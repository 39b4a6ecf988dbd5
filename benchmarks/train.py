"""How fast the trainer is: next to its own matrix products, to larger tables, to its peers, from
disk and in bfloat16.

MMoE, 26 categorical × 16 + 13 numeric, 4 experts 256-128, towers 64, batch 4096, one device. What
is compared takes turns, so that a machine that drifts slows all alike; every figure is the median
of the rounds' own ratios. Ours runs as the `funnel` command does, with huge pages where they are
given on request, the peers as they come.

Ratios, each of rows/s in float32 unless it says otherwise:

  of_limit             time of the step's dense matrix products, forward and backward, over the
                       step's (the faster of with and without XLA)
  best_over_float32    train.precision = "auto" over float32 without XLA
  wide_over_plain      with the wide part over without
  vocabulary_400k, 2m  time of a step with 400,000 (2,000,000) rows a table over that with 10,000
  times_<peer>_<rows>  ours with lazy Adam over the peer's with Adam
  best_times_…         the same with ours in its best mode
  best_auc_difference  the largest difference of a task's AUC between the best mode and float32, on
                       the simulator
  disk_over_memory     from TFRecords over from tensors in memory
  packed_over_columns  rows/s parsed of the packed layout over those of the columns layout
  extra_gib            peak memory − tables − slots, 26 × 2,000,000 rows, with a checkpoint saved
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from benchmarks import machine, shape, train_data
from benchmarks.train_steps import (
    BEST,
    COMPILED,
    FLOAT32,
    in_memory,
    kernels,
    make_spec,
    make_trainer,
    plain,
    products,
    stepper,
)
from funnel.cli import huge_pages
from model.data.id_check import checked
from model.data.input import Data

ROOT = Path(__file__).resolve().parents[1]
ADAM = {"embedding_optimizer": "lazy_adam"}
PEERS = ("deepctr", "rechub")
SIZES = {"10k": 10_000, "400k": 400_000, "2m": 2_000_000}  # rows a table
Result = tuple[list[list[str]], dict[str, float]]


class Effort(NamedTuple):
    """How long is measured, at which sizes of the tables, and with which peers' Pythons."""

    steps: int
    rounds: int
    small: int
    large: int
    huge: int
    impressions: int
    pythons: dict[str, str]

    def label(self, size: int) -> str:
        """The name of a size in the figures; `--quick` has smaller tables under the same names."""
        return dict(zip([self.small, self.large, self.huge], SIZES, strict=True))[size]


def rows(times: dict[str, list[float]]) -> list[list[str]]:
    """Of the table that is printed."""
    return [
        [name, f"{1000 * median(t):.1f}", f"{shape.BATCH / median(t):,.0f}"]
        for name, t in times.items()
    ]


def speed(effort: Effort) -> Result:
    """Modes against each other and against their matrix products."""
    modes = {"float32": FLOAT32, "float32 with XLA": COMPILED, "best mode": BEST}
    trainers = {name: make_trainer(effort.small, **mode) for name, mode in modes.items()}
    best = trainers["best mode"].mode
    print(f"· best mode: {best}", flush=True)
    measured = {
        name: stepper(trainer, in_memory(effort.small), effort.steps)
        for name, trainer in trainers.items()
    }
    shapes = kernels(trainers["float32"].model, make_spec(effort.small))
    measured["matrix products"] = products(shapes, effort.steps)
    measured["matrix products, best mode"] = products(
        shapes, effort.steps, getattr(tf, best.precision)
    )
    times = machine.interleave(measured, effort.rounds)
    faster = min(times["float32"], times["float32 with XLA"], key=median)
    found = {
        "of_limit": machine.ratio(times["matrix products"], faster),
        "best_over_float32": machine.ratio(times["float32"], times["best mode"]),
        "best_of_limit": machine.ratio(times["matrix products, best mode"], times["best mode"]),
    }
    return rows(times), found


def wide(effort: Effort) -> Result:
    """The step with and without the wide part."""
    trainers = {
        "plain": make_trainer(effort.small, **FLOAT32),
        "with the wide part": make_trainer(effort.small, wide=True, **FLOAT32),
    }
    measured = {
        name: stepper(trainer, in_memory(effort.small), effort.steps)
        for name, trainer in trainers.items()
    }
    times = machine.interleave(measured, effort.rounds)
    return rows(times), {
        "wide_over_plain": machine.ratio(times["plain"], times["with the wide part"])
    }


def vocabulary(effort: Effort) -> Result:
    """The step's time by the tables' rows."""
    sizes = [effort.small, effort.large, effort.huge]
    measured = {
        f"{effort.label(size)} rows a table": stepper(
            make_trainer(size, **FLOAT32), in_memory(size), effort.steps
        )
        for size in sizes
    }
    times = machine.interleave(measured, effort.rounds)
    first, *others = times.values()
    labels = map(effort.label, sizes[1:])
    return rows(times), {
        f"vocabulary_{label}": machine.ratio(own, first)
        for label, own in zip(labels, others, strict=True)
    }


def peer(python: str, name: str, size: int, steps: int) -> float:
    """Seconds a step of a peer, in its own environment. RuntimeError with the end of its output
    when it fails.
    """
    env = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}  # ours
    return shape.BATCH / worker([python, f"peer_{name}.py"], size, steps, env)["rows_per_second"]


def worker(
    command: list[str], size: int, steps: int, env: dict[str, str] | None = None
) -> dict[str, float]:
    """The JSON of a script's last line."""
    python, script = command
    flags = ["--rows-per-table", str(size), "--steps", str(steps)]
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / script), *flags],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    if done.returncode:
        raise RuntimeError(f"{script} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peers(effort: Effort, size: int) -> Result:
    """Ours and the peers' rows/s."""
    present = {name: python for name, python in effort.pythons.items() if Path(python).exists()}
    for name in effort.pythons.keys() - present.keys():
        print(
            f"· {effort.pythons[name]} is not there, so {name} is left out; `make bench-peers` "
            "makes it",
            flush=True,
        )
    if not present:
        return [], {}
    modes = {"ours, lazy Adam": FLOAT32} | (
        {"ours, lazy Adam, best mode": BEST} if size == effort.small else {}
    )
    measured = {
        name: stepper(make_trainer(size, **ADAM, **mode), in_memory(size), effort.steps)
        for name, mode in modes.items()
    }
    measured |= {
        name: partial(peer, python, name, size, effort.steps) for name, python in present.items()
    }
    times, label = machine.interleave(measured, effort.rounds), effort.label(size)
    found = {
        f"times_{name}_{label}": machine.ratio(times[name], times["ours, lazy Adam"])
        for name in present
    }
    if size == effort.small and "deepctr" in present:
        found[f"best_times_deepctr_{label}"] = machine.ratio(
            times["deepctr"], times["ours, lazy Adam, best mode"]
        )
    return [[f"{name}, {label} rows", *rest] for name, *rest in rows(times)], found


def auc_difference(effort: Effort) -> Result:
    """Both modes on the simulator's rows, from the same start and over the same steps."""
    from funnel.config.config import load
    from funnel.stages.logs import preprocess, simulate
    from funnel.stages.training import Run

    with tempfile.TemporaryDirectory() as folder:
        small = [f"simulate.impressions={effort.impressions}", f"simulate.out={folder}/logs"]
        logs = [
            f"logs.{name}.files={folder}/logs/{name}/*/*"
            for name in ("impressions", "clicks", "conversions")
        ]
        overrides = [f"run={folder}", *small, *logs, "train.tensorboard=false"]
        config = load(ROOT / "funnel" / "examples" / "demo.toml", overrides)
        simulate(config)
        preprocess(config)
        results = {}
        for name, mode in {"float32": FLOAT32, "best": BEST}.items():
            changes = [f"train.{key}={str(value).lower()}" for key, value in mode.items()]
            run = Run(
                load(ROOT / "funnel" / "examples" / "demo.toml", overrides + changes),
                model_dir=Path(folder) / name,
            )
            run.train()
            results[name] = run.estimator.evaluate(run.eval_input)
    aucs = {
        name: {task: result["auc"] for task, result in found.items()}
        for name, found in results.items()
    }
    table = [
        [
            f"AUC of {task}: float32, best mode",
            f"{aucs['float32'][task]:.4f}",
            f"{aucs['best'][task]:.4f}",
        ]
        for task in aucs["best"]
    ]
    return table, {
        "best_auc_difference": max(
            abs(auc - aucs["float32"][task]) for task, auc in aucs["best"].items()
        )
    }


def disk(effort: Effort) -> Result:
    """From TFRecords and from memory; and the parsing alone, of both layouts."""
    with tempfile.TemporaryDirectory() as folder:
        layouts = {
            name: train_data.write(Path(folder) / name, effort.small, name)
            for name in ("packed", "columns")
        }
        read = layouts["packed"].train_input(batch_size=shape.BATCH, shuffle_buffer=10_000, seed=1)(
            tf.distribute.InputContext()
        )
        checks = partial(
            checked, spec=make_spec(effort.small), fitted=plain(make_spec(effort.small))
        )  # as every training's input
        inputs = {
            "from memory": checks(in_memory(effort.small)),
            "from disk": checks(read).prefetch(2),
        }
        measured = {
            name: stepper(make_trainer(effort.small, **FLOAT32), batches, effort.steps)
            for name, batches in inputs.items()
        }
        measured |= {
            f"parsing {name}": parser(data, 4 * effort.steps) for name, data in layouts.items()
        }
        times = machine.interleave(measured, effort.rounds)
    found = {"disk_over_memory": machine.ratio(times["from memory"], times["from disk"])}
    return rows(times), found | {
        "packed_over_columns": machine.ratio(times["parsing columns"], times["parsing packed"])
    }


def parser(data: Data, count: int) -> Callable[[], float]:
    """Seconds a batch of turning serialized examples, which are in memory, into tensors."""
    files = [str(data.directory / shard["file"]) for shard in data.manifest["shards"]["train"]]
    examples = tf.data.TFRecordDataset(files).batch(shape.BATCH).cache()
    batches = iter(examples.repeat().map(data.parse))
    for _ in range(2 * shape.BATCHES):
        next(batches)
    return lambda: machine.seconds(lambda: [next(batches) for _ in range(count)]) / count


def memory(effort: Effort) -> Result:
    """In a process of its own."""
    found = worker([sys.executable, "train_memory.py"], effort.huge, effort.steps)
    table = [[f"{name}, GiB", "", f"{value:.2f}"] for name, value in found.items()]
    return table, {"extra_gib": found["peak"] - found["tables"] - found["slots"]}


MEASUREMENTS: dict[Callable[[Effort], Result], tuple[str, ...]] = {
    memory: ("extra_gib",),  # first: what follows leaves less of it
    speed: ("of_limit", "best_over_float32", "best_of_limit"),
    wide: ("wide_over_plain",),
    vocabulary: ("vocabulary_400k", "vocabulary_2m"),
    lambda effort: peers(effort, effort.small): (
        "times_deepctr_10k",
        "times_rechub_10k",
        "best_times_deepctr_10k",
    ),
    lambda effort: peers(effort, effort.large): ("times_deepctr_400k", "times_rechub_400k"),
    auc_difference: ("best_auc_difference",),
    disk: ("disk_over_memory", "packed_over_columns"),
}


def main() -> None:
    huge_pages.reexec_with_huge_pages()
    names = [name for group in MEASUREMENTS.values() for name in group]
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python benchmarks/train.py --only of_limit",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        metavar="NAME",
        help="some of the figures above instead of all",
    )
    parser.add_argument(
        "--steps", type=int, default=20, help="steps of each round (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="rounds in which all take turns (default: %(default)s)",
    )
    for name in PEERS:
        place = ROOT / f".venv-peers-{name}" / "bin" / "python"
        parser.add_argument(
            f"--{name}",
            metavar="PYTHON",
            default=str(place),
            help="its environment's Python (default: make bench-peers')",
        )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of two steps on small tables: shows that it runs, measures nothing",
    )
    arguments = parser.parse_args()
    pythons = {name: getattr(arguments, name) for name in PEERS}
    effort = Effort(arguments.steps, arguments.rounds, *SIZES.values(), 3_000_000, pythons)
    if arguments.quick:
        effort = effort._replace(
            steps=2, rounds=1, small=1000, large=2000, huge=3000, impressions=20_000
        )
    wanted, table, result = arguments.only or names, [["", "ms a step", "rows/s"]], {}
    for measure, own in MEASUREMENTS.items():
        if set(own) & set(wanted):
            lines, found = measure(effort)
            table += lines
            result |= {name: value for name, value in found.items() if name in wanted}
    machine.finish(table, result)


if __name__ == "__main__":
    main()
