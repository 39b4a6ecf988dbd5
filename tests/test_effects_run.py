"""Every option of how a training is run, evaluated, published and started changes what a run leaves
behind, where a training ends, or its devices.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from effects import changed, differs

pytestmark = pytest.mark.slow

MODEL = {
    "sharing": {"name": "shared_bottom", "units": [4]},
    "funnel": {"name": "esmm", "tower_units": [3]},
}
TRAIN = {
    **{"batch_size": 16, "steps": 6, "precision": "float32"},
    **{"log_every": 2, "checkpoint_every": 3, "tensorboard": False},
}
LEFT = {
    "RunConfig.checkpoint_every": {"train.checkpoint_every": 2},
    "RunConfig.checkpoint_minutes": {"train.checkpoint_minutes": 1e-9},
    "RunConfig.keep_checkpoints": {"train.keep_checkpoints": 1},
    "RunConfig.async_checkpoints": {"train.async_checkpoints": False},
    "RunConfig.log_every": {"train.log_every": 3},
    "RunConfig.tensorboard": {"train.tensorboard": True},
    "RunConfig.profile": {"train.profile": [2, 3]},
    "EvaluationConfig.every": {"evaluation.every": 3},
}
EVALUATIONS = [(0.5, 0.9), (0.6, 0.8), (0.605, 0.7), (0.58, 0.6), (0.7, 0.5), (0.71, 0.6)]
STOPPED = {  # {option: change}, of the evaluations until the training ends
    "EarlyStopping.metric": {"evaluation.early_stopping.metric": "ctr logloss"},
    "EarlyStopping.patience": {"evaluation.early_stopping.patience": 3},
    "EarlyStopping.min_delta": {"evaluation.early_stopping.min_delta": 0.2},
}
PUBLISHED = {
    "Latest.keep": {"exporters.latest.keep": 2},
    "Best.metric": {"exporters.best.metric": "ctr logloss"},
    "Best.provided": {"exporters.best.provided": ["ctr logloss <= 0.55"]},
    "Best.keep": {"exporters.best.keep": 3},
    "Exporters.final": {"exporters.final": None},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from model_data import write_data

    return write_data(tmp_path_factory.mktemp("effects"))


def sections_of(folder, data):
    from model_data import FEATURES, LABELS, TASKS

    own = {"features": FEATURES, "labels": LABELS, "tasks": TASKS, "model": MODEL, "train": TRAIN}
    return own | {"data": str(data), "run": str(folder / "run")}


def left_behind(sections, folder):
    """What a training leaves, and how its checkpoints were written."""
    from funnel.config.config import load
    from funnel.stages.training import Run
    from model.estimator.checkpoints import Checkpoints

    written, save = [], Checkpoints._save

    def noted(checkpoints, step):
        written.append((step, checkpoints.background))
        save(checkpoints, step)

    run = sections | {"run": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_save", noted)
        Run(load(run)).train()
    steps = [
        (line["step"], sorted(line.keys() & {"loss", "evaluation"}))
        for line in map(json.loads, (folder / "model/metrics.jsonl").read_text().splitlines())
    ]
    kept = sorted(path.name for path in (folder / "model/checkpoints").glob("*.index"))
    return written, steps, kept, sorted(path.name for path in (folder / "model").iterdir())


@pytest.mark.parametrize("option", LEFT)
def test_what_a_training_leaves(tmp_path_factory, data, option):
    def left(sections):
        return left_behind(sections, tmp_path_factory.mktemp("run"))

    folder = tmp_path_factory.getbasetemp()
    differs(left, sections_of(folder, data), LEFT[option])


def stopped(sections):
    """How many of the literal evaluations there are before the training ends."""
    from test_model_callbacks import REPORT

    from funnel.config.config import load
    from funnel.stages.training import Run

    (stopping,) = Run(load(sections))._stopping
    for step, (auc, logloss) in enumerate(EVALUATIONS):
        metrics = {"ctr": {"auc": auc, "logloss": logloss}}
        if stopping(dataclasses.replace(REPORT, step=step, metrics=metrics)):
            return step
    return None


@pytest.mark.parametrize("option", STOPPED)
def test_where_a_training_ends(tmp_path, data, option):
    early = {"every": 1, "early_stopping": {"metric": "ctr auc", "patience": 1}}
    sections = sections_of(tmp_path, data) | {"evaluation": early}
    differs(stopped, sections, STOPPED[option])


def published(sections):
    """The versions of each exporter after the literal evaluations."""
    import shutil
    from pathlib import Path

    from test_model_exporters import Estimator

    from funnel.config.config import load
    from funnel.stages.training import Run

    shutil.rmtree(Path(sections["run"]) / "exporters", ignore_errors=True)
    exporters, estimator = Run(load(sections))._exporters, Estimator()
    for step, (auc, logloss) in enumerate(EVALUATIONS):
        for exporter in exporters:
            exporter(estimator, {"ctr": {"auc": auc, "logloss": logloss}}, step, step == 5)
    folders = Path(sections["run"]) / "exporters"
    return sorted(str(path.relative_to(folders)) for path in folders.glob("*/*"))


@pytest.mark.parametrize("option", PUBLISHED)
def test_what_is_published(tmp_path, data, option):
    each = {"latest": {"keep": 3}, "best": {"metric": "ctr auc"}, "final": {}}
    sections = sections_of(tmp_path, data) | {"exporters": each}
    differs(published, sections, PUBLISHED[option])


def test_where_a_training_starts(tmp_path, data):
    from model_data import write_data

    from funnel.config.config import load
    from funnel.stages.training import Run

    base = sections_of(tmp_path, data)
    Run(load(base)).train()
    later = write_data(tmp_path / "later", train=120)

    def begun(sections):
        """The statistics and weights before the first step."""
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        run = Run(load(sections | {"data": str(later), "run": str(folder)}))
        run.prepare()
        state = run.estimator._session.trainer.model.state
        return run.estimator.fitted, [state[name].numpy().tobytes() for name in sorted(state)]

    differs(begun, base, {"warm_start.run": base["run"]})
    warm = changed(base, {"warm_start.run": base["run"]})
    differs(begun, warm, {"warm_start.refresh_statistics": True})


def test_truth(tmp_path, data):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from funnel.config.config import load
    from funnel.stages.evaluate import evaluate
    from funnel.stages.training import Run

    base = sections_of(tmp_path, data)
    Run(load(base)).train()
    drawn = np.arange(260) % 2
    truth = {"impression_id": [str(n) for n in range(260)], "converts": drawn}
    pq.write_table(pa.table(truth), tmp_path / "truth.parquet")
    differs(
        lambda sections: evaluate(load(sections)).result,
        base,
        {"evaluation.truth": str(tmp_path / "truth.parquet")},
    )


def test_cpu_devices(tmp_path, data):
    from funnel.config.config import load
    from model.training.strategy import make_strategy

    def strategy(sections):
        return type(make_strategy(load(sections).run_config.cpu_devices)).__name__

    differs(strategy, sections_of(tmp_path, data), {"train.cpu_devices": 1})


def test_cache_gib(tmp_path, data, server, bucket, monkeypatch):
    from model_data import batches, upload

    from features.errors import FunnelError
    from funnel.config.config import load
    from funnel.stages.training import Run

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    upload(bucket, data, "ads/data")

    def read(sections):
        """The rows, into an empty cache."""
        monkeypatch.setenv("FUNNEL_CACHE", str(tmp_path / str(len(list(tmp_path.iterdir())))))
        try:
            run = Run(load(sections))
            return [batch["id"].numpy().tolist() for batch in batches(run.data, 16, split="eval")]
        except FunnelError as error:
            return str(error)

    base = sections_of(tmp_path, "s3://logs/ads/data")
    differs(read, base, {"train.cache_gib": 1e-6})


def test_verify(tmp_path, data):
    from model_data import batches

    from features.errors import FunnelError
    from funnel.config.config import load
    from funnel.stages.training import Run

    copy = shutil.copytree(data, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"]["eval"][0]["sha256"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))

    def read(sections):
        try:
            run = Run(load(sections))
            return [batch["id"].numpy().tolist() for batch in batches(run.data, 16, split="eval")]
        except FunnelError as error:
            return str(error)

    differs(read, sections_of(tmp_path, copy), {"train.verify": True})


OPTIONS = {
    *LEFT,
    *STOPPED,
    *PUBLISHED,
    *("WarmStartConfig.run", "WarmStartConfig.refresh_statistics", "EvaluationConfig.truth"),
    *("RunConfig.cpu_devices", "RunConfig.cache_gib", "RunConfig.verify"),
}
