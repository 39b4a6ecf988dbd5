"""Checkpoint → a published version, a SavedModel that loaders score like the checkpoint."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from features import arrays
from features.errors import FunnelError
from features.files import flush, flush_all, make_directory, make_private
from features.locks import locked
from features.manifest import checksums
from model.data.errors import naming_files
from model.ranking import RankingModel
from model.serving.check import LOADERS, Check, check_loaders
from model.serving.graph_check import check_graph
from model.serving.requests import expressible, requests
from model.serving.saved_model import save


@dataclass(frozen=True)
class Export:
    """A published version.

    Args:
        path: its directory.
        version: its number.
        outputs: the names of its outputs.
        check: the results of the loaders.
        evaluation: {step, evaluation, warnings} of the checkpoint; the metrics are None where it
            was not evaluated.
    """

    path: Path
    version: int
    outputs: list[str]
    check: Check
    evaluation: Mapping[str, Any]


STEPS = 5 + len(LOADERS)  # of an export, as on_step counts them


def export(
    model: RankingModel,
    sample: Path,
    export_dir: Path,
    version: int | None = None,
    on_step: Callable[[], None] = lambda: None,
    evaluation: Mapping[str, Any] | None = None,
) -> Export:
    """Writes export_dir/<version>/, once its scores are checked.

    Args:
        model: the model of a checkpoint.
        sample: a Parquet file of raw rows to check the scores with.
        export_dir: receives the version.
        version: its number, greater than every published one; by default the unix time, or the
            number after the greatest published one if the clock is behind that.
        on_step: called STEPS times on the way.
        evaluation: {step, evaluation, warnings} of the checkpoint, for the version's manifest.

    Raises:
        FunnelError: the version exists or a greater one does, its graph reads what no loader fills,
            a loader fails or differs from the checkpoint by more than 1e-5, or a file cannot be
            written. Nothing is published then.
    """
    about = {"step": None, "evaluation": None, "warnings": []} | dict(evaluation or {})
    with naming_files(export_dir), _exclusive(export_dir):
        final = export_dir / str(_number(export_dir, version))
        rows = expressible(model.spec, pq.read_table(sample))
        expected = checkpoint_scores(model, rows)
        on_step()
        with _unfinished(final) as unfinished:
            mode = make_private(unfinished)
            save(model, unfinished)
            on_step()
            check_graph(unfinished)
            on_step()
            check = check_loaders(unfinished, requests(model.spec, rows), expected, on_step)
            _write_manifest(unfinished / "assets.extra", check.summary() | about)
            flush_all(unfinished)
            unfinished.chmod(mode)
            unfinished.rename(final)
            flush(export_dir)
            on_step()
    return Export(final, int(final.name), sorted(expected), check, about)


def _number(export_dir: Path, version: int | None) -> int:
    """The number of the next version. Servers load the greatest, so it is greater than all others,
    also after the clock went back.
    """
    newest = max((int(p.name) for p in export_dir.iterdir() if p.name.isdecimal()), default=0)
    if version is None:
        return max(int(time.time()), newest + 1)
    final = export_dir / str(version)
    if final.exists():
        raise FunnelError(
            f"{final}: exists already, and a published version is never overwritten; give another "
            "version, or remove it"
        )
    if version < newest:
        raise FunnelError(
            f"{final}: version {newest} is published, and servers load the greatest; give a "
            "version above it, or remove it"
        )
    return version


def checkpoint_scores(model: RankingModel, sample: pa.Table) -> dict[str, np.ndarray]:
    """The model's scores of raw rows, encoded as the pipeline encodes them."""
    columns = {name: sample[name].combine_chunks() for name in model.spec.columns}
    encoded = arrays.encode(model.spec, arrays.served(model.spec, columns))
    scores = model.scores(tf.constant(encoded.ids, tf.int64), tf.constant(encoded.dense))
    return {name: p.numpy() for name, p in scores.items()}


def _write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes assets.extra/manifest.json, which servers ignore: how the version was checked, how its
    checkpoint was evaluated, and the checksums of its files.
    """
    content = {**content, "files": checksums(folder.parent)}
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def _exclusive(export_dir: Path) -> Iterator[None]:
    """One process at a time exports to a directory. So an unfinished version there was left by a
    killed process, and is removed.
    """
    make_directory(export_dir)
    with locked(export_dir / ".lock-export", "export"):
        for left in export_dir.glob(".*.unfinished"):
            if left.name.split(".")[1].isdecimal():
                shutil.rmtree(left)
        yield


@contextmanager
def _unfinished(final: Path) -> Iterator[Path]:
    """The directory in which a version is made. Its name is not an integer, so that TF Serving does
    not see it.
    """
    unfinished = final.with_name(f".{final.name}.unfinished")
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
