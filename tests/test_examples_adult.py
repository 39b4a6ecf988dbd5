"""examples/adult.toml, the two tasks on UCI Adult: every sharing under both funnels, on the real rows."""

from pathlib import Path

import pytest

from features.errors import FunnelError
from funnel.config import load
from model.estimator import RankingEstimator
from model.sharing import SHARING
from pipeline.job import preprocess

ROOT = Path(__file__).resolve().parents[1]
ADULT = ROOT.parent / "shared" / "data" / "adult"
FILES = [f"logs.table.files={ADULT / 'adult.data.gz'}", f"split.eval.files={ADULT / 'adult.test.gz'}"]
needs_data = pytest.mark.skipif(not ADULT.exists(), reason=f"the real data are not at {ADULT}")
OUTPUTS = {"independent": {"income", "never_married"}, "esmm": {"income", "married", "never_married"}}


def config(*overrides):
    return load(ROOT / "examples" / "adult.toml", [*FILES, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adult")
    manifest = preprocess(config().preprocess, folder)
    assert manifest["rows"]["examples_written"] == 32_561 + 16_281
    assert manifest["rows"]["rejected"] == 1  # the first line of the test file, which is a comment
    return folder


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("funnel", OUTPUTS)
@pytest.mark.parametrize("sharing", [name for name in SHARING if name != "mose"])
def test_every_sharing_learns(sharing, funnel, data, tmp_path):
    small = config(
        f"model.sharing={sharing}", f"model.funnel={funnel}", "train.steps=80", "train.batch_size=512", "train.learning_rate=0.003"
    )
    estimator = RankingEstimator(small.spec, small.model, small.train, data, tmp_path / "model")
    estimator.train()
    results = estimator.evaluate()
    assert set(results) == OUTPUTS[funnel]
    assert results["never_married"]["auc"] > 0.75
    assert results["income"]["auc"] > (0.75 if funnel == "independent" else 0.6)  # esmm makes income pay for the product


def test_mose_is_refused_without_a_sequence():
    with pytest.raises(FunnelError, match=r"mose reads a sequence, but no feature has kind = 'sequence'"):
        _ = config("model.sharing=mose").model


def test_one_file_serves_both_funnels():
    for funnel, outputs in OUTPUTS.items():
        assert config(f"model.funnel={funnel}").model.objectives(config().spec) == sorted(outputs - {"married"})
