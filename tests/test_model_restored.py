"""A model directory is all that prediction and export need."""

import shutil

import numpy as np
import pytest
from model_data import make_estimator, make_model, write_data

from features.errors import FunnelError
from model.estimator.estimator import RankingEstimator
from model.estimator.ranking_config import RankingConfig


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restored")
    write_data(folder)
    run = make_estimator(folder, model=make_model("shared_bottom", "esmm"), steps=2)
    run.train()
    return run


def test_the_configuration_is_that_of_the_training(trained):
    config = RankingConfig.restored(trained.model_dir)
    assert config.identity == trained.config.identity
    assert config.training_settings == trained.config.training_settings
    assert config.fitted == trained.fitted


def test_it_scores_and_exports_without_the_data(trained, tmp_path):
    shutil.copytree(trained.model_dir, tmp_path / "model")  # elsewhere, with nothing beside it
    estimator = RankingEstimator(RankingConfig.restored(tmp_path / "model"), tmp_path / "model")
    scores = estimator.predict(trained.eval_input)
    for name, expected in trained.predict().items():
        np.testing.assert_array_equal(scores[name], expected)
    export = estimator.export_saved_model(tmp_path / "export", version=1)
    assert export.check.max_abs_difference <= 1e-5
    assert export.check.rows > 0


def test_a_directory_without_a_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(FunnelError, match=r"holds no checkpoint; run `funnel train` first"):
        RankingConfig.restored(tmp_path)
