"""Calibration on the simulator after weighted positives, sampled negatives and fitted maps."""

from pathlib import Path

import pytest

from features.errors import FunnelError
from funnel.config.config import load
from funnel.stages.export import export
from funnel.stages.logs import preprocess, simulate
from funnel.stages.train import train

EXAMPLE = Path(__file__).parents[1] / "funnel/examples/demo.toml"
WEIGHTS = ["tasks.ctr.positive_weight=5", "tasks.cvr.positive_weight=3"]
CASES = {
    "plain": [],
    "weighted": WEIGHTS,
    "sampled": ["sampling.negatives=0.2"],
    "isotonic": ["tasks.ctr.calibrate=isotonic", "tasks.cvr.calibrate=isotonic"],
    "platt": [*WEIGHTS, "tasks.ctr.calibrate=platt", "tasks.cvr.calibrate=platt"],
}


def configure(folder: Path, changes: list[str]):
    """100,000 impressions, half of them to evaluate on; with rates so high that chance moves a
    calibration by about 1 %.
    """
    logs = [
        f"logs.{stream}.files={folder}/logs/{stream}/*/*"
        for stream in ("impressions", "clicks", "conversions")
    ]
    drawn = [
        "impressions=100000",
        f"out={folder}/logs",
        "ctr=0.3",
        "cvr=0.3",
        "users=500",
        "items=200",
        "trailing=3d",
    ]
    small = [
        "model.sharing={ name = 'shared_bottom', units = [32] }",
        "train.tensorboard=false",
        "train.precision=float32",
    ]
    sections = [f"simulate.{one}" for one in drawn] + [
        "split={ eval = { fraction = 0.5 } }",
        "evaluation={}",
    ]
    return load(EXAMPLE, [f"run={folder}/run", *logs, *sections, *small, *changes])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    simulate(configure(folder, []))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_scores_are_rates(simulated, case):
    from funnel.stages.training import Run
    from model.estimator.checkpoint_files import listed, step_of

    config = configure(simulated, [*CASES[case], f"run={simulated}/{case}"])
    preprocess(config)
    run = Run(config)
    run.train()
    results = run.estimator.evaluate(run.eval_input)
    # What is not fitted keeps the error of the model: the last step's noise, and that it knows its
    # training rows. Weights that were not undone would double a rate at least.
    error = 0.03 if "calibrate" in str(CASES[case]) else 0.08
    for name in ("ctr", "cvr", "ctcvr"):
        assert results[name]["calibration"] == pytest.approx(1, abs=error), (
            f"{name}: {results[name]}"
        )
    maps = run.estimator.load().calibration
    assert sorted(maps) == (["ctcvr", "ctr", "cvr"] if "calibrate" in str(CASES[case]) else [])
    if maps:
        step = step_of(listed(run.estimator.checkpoint_dir)[-1])
        (config.model_dir / "calibration.json").write_text(f'{{"step": {step}, "maps": {{}}}}')
        plain = run.estimator.evaluate(run.eval_input)
        for name in maps:
            assert results[name]["auc"] == pytest.approx(plain[name]["auc"], abs=1e-4)


@pytest.mark.slow
def test_an_export_is_calibrated_too(simulated):
    """The loaders that serve score like the checkpoint with its maps: an export is refused where
    they do not.
    """
    config = configure(simulated, [*CASES["platt"], f"run={simulated}/exported", "train.steps=20"])
    preprocess(config)
    train(config)
    export(config)
    assert (config.model_dir / "calibration.json").exists()
    assert len(list(config.export_dir.iterdir())) == 1


@pytest.mark.slow
def test_too_few_positives_are_refused(simulated):
    config = configure(
        simulated, ["tasks.cvr.calibrate=isotonic", "train.held_out=0.001", f"run={simulated}/few"]
    )
    preprocess(config)
    with pytest.raises(
        FunnelError,
        match=r"tasks.cvr.calibrate = 'isotonic': the held-out rows hold about \d+ positives",
    ):
        train(config)
