"""Warm start: rows by feature name, changed features from scratch, statistics of the checkpoint."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from model_data import EVERY_KIND, FEATURES, make_estimator, make_model, make_spec, write_data

from features.errors import FunnelError
from model.embeddings.tables import row_ranges
from model.estimator.warm_start import WarmStart

TINY = 1e-30


def run(folder, spec, *, start=None, refresh=False, said=None, steps=3, **data):
    """A finished run in folder. One that is started from another learns too little to see: its
    weights are those that it began with.
    """
    write_data(folder, spec, **data)
    warm = WarmStart(start.model_dir, refresh) if start else None
    rates = {"learning_rate": TINY, "embedding_learning_rate": TINY} if start else {}
    estimator = make_estimator(
        folder,
        spec,
        steps=steps,
        warm_start=warm,
        warn=(said if said is not None else []).append,
        **rates,
    )
    estimator.train()
    return estimator


def rows(estimator, feature):
    """The feature's own rows of its table."""
    spec, state = estimator.config.spec, estimator.load().state
    dim = spec.features[feature].dim
    begin = row_ranges(spec, estimator.fitted, dim)[0][feature]
    return state[f"embeddings_0/{dim}"].numpy()[
        begin : begin + estimator.fitted.table_rows(spec, feature)
    ]


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory):
    """For all tests: none changes it."""
    return run(tmp_path_factory.mktemp("yesterday"), make_spec())


def test_everything_goes_on_but_the_step(tmp_path, yesterday):
    said = []
    today = run(tmp_path / "today", make_spec(), start=yesterday, said=said, steps=1)
    before, after = yesterday.load().state, today.load().state
    for name, value in before.items():
        np.testing.assert_allclose(after[name].numpy(), value.numpy(), rtol=0, atol=1e-20)
    assert (today.latest_step(), said) == (1, [])


def test_changed_and_new_features_start_from_scratch_one_by_one(tmp_path, yesterday):
    said = []
    features = FEATURES | {
        "user": FEATURES["user"] | {"buckets": 41},
        "shelf": {"kind": "categorical", "buckets": 9, "dim": 4, "dtype": "int64"},
    }
    spec = make_spec(
        features={name: features[name] for name in ("shelf", *reversed(FEATURES))}
    )  # and in another order
    today = run(tmp_path / "today", spec, start=yesterday, said=said, steps=1)
    assert any(
        "feature 'user' has changed (buckets was 40 and is 41): its embeddings start from scratch"
        in line
        for line in said
    )
    assert any("feature 'shelf' is new: its embeddings start from scratch" in line for line in said)
    np.testing.assert_array_equal(rows(today, "item"), rows(yesterday, "item"))
    np.testing.assert_array_equal(rows(today, "tags"), rows(yesterday, "tags"))
    assert not np.array_equal(rows(today, "user")[:40], rows(yesterday, "user"))


def test_a_feature_that_is_gone_is_said(tmp_path, yesterday):
    said = []
    features = {
        name: f for name, f in FEATURES.items() if name not in ("age", "user", "user_x_tags")
    }
    run(tmp_path / "today", make_spec(features=features), start=yesterday, said=said, steps=1)
    assert [
        f"feature '{name}' of {yesterday.model_dir} is gone" in " ".join(said)
        for name in ("age", "user", "user_x_tags")
    ] == [True] * 3


@pytest.mark.parametrize("refresh", [False, True])
def test_statistics_are_the_checkpoints_unless_refreshed(tmp_path, yesterday, refresh):
    today = run(
        tmp_path / "today", make_spec(), start=yesterday, refresh=refresh, steps=1, train=120
    )
    assert today.config.fitted != yesterday.fitted
    kept = today.config.fitted if refresh else yesterday.fitted
    assert today.fitted == kept.model_copy(update={"outcomes": today.config.fitted.outcomes})
    assert (
        make_estimator(
            tmp_path / "today", steps=1, learning_rate=TINY, embedding_learning_rate=TINY
        ).fitted
        == today.fitted
    )


def test_a_vocabulary_keeps_the_rows_of_its_values(tmp_path):
    spec = make_spec(features=EVERY_KIND)
    yesterday, said = run(tmp_path / "yesterday", spec), []
    today = run(
        tmp_path / "today", spec, start=yesterday, refresh=True, said=said, steps=1, train=90
    )
    old, new = (run.fitted.vocabularies["user"] for run in (yesterday, today))
    assert old != new
    assert set(old) & set(new)
    before, after = rows(yesterday, "user"), rows(today, "user")
    for value in set(old) & set(new):
        assert (after[2 + new.index(value)] == before[2 + old.index(value)]).all()
    assert (after[:2] == before[:2]).all()


def test_slots_of_the_optimizer_come_along(tmp_path, yesterday):
    today = run(tmp_path / "today", make_spec(), start=yesterday, steps=1)
    first, second = (
        tf.train.load_checkpoint(str(run.checkpoint_dir)) for run in (yesterday, today)
    )
    names = [name for name in first.get_variable_to_shape_map() if "slots.S" in name]
    assert names
    untouched = [
        (first.get_tensor(n) <= second.get_tensor(n)).all() for n in names
    ]  # Adagrad's sums only grow
    assert all(untouched)


def test_another_architecture_says_what_starts_from_scratch(tmp_path, yesterday):
    write_data(tmp_path / "today")
    said = []
    start = WarmStart(yesterday.model_dir)
    make_estimator(
        tmp_path / "today", model=make_model("ple"), steps=1, warm_start=start, warn=said.append
    ).train()
    assert any("is new: it starts from scratch" in line for line in said)


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    write_data(tmp_path)
    with pytest.raises(FunnelError, match="holds no checkpoint to start from"):
        make_estimator(tmp_path, warm_start=WarmStart(tmp_path / "nowhere"))


def test_it_is_for_a_training_that_begins(tmp_path, yesterday):
    first = run(tmp_path / "today", make_spec(), start=yesterday, steps=1)
    kept = first.load().state
    again = run(tmp_path / "today", make_spec(), start=yesterday, steps=1)
    found = again.load().state
    assert all((found[name].numpy() == value.numpy()).all() for name, value in kept.items())
    assert again.latest_step() == 1


@pytest.mark.parametrize("from_scratch", [False, True])
def test_the_run_that_is_trained_is_none_to_start_from(yesterday, from_scratch):
    folder = yesterday.model_dir.parent
    start = WarmStart(folder / f"../{folder.name}/model")
    with pytest.raises(
        FunnelError, match="model: is both trained and started from; give another run directory"
    ):
        make_estimator(folder, warm_start=start, from_scratch=from_scratch)
    assert yesterday.latest_step() == 3


def test_it_is_never_cold_in_silence(tmp_path, yesterday):
    write_data(tmp_path / "today")
    make_estimator(tmp_path / "today", model=make_model("ple"), steps=1).train()
    broken = shutil.copytree(yesterday.model_dir, tmp_path / "broken")
    new = make_estimator(
        tmp_path / "today", warm_start=WarmStart(broken), from_scratch=True, warn=lambda line: None
    )
    for path in broken.glob("checkpoints/*.data*"):
        path.unlink()
    said = (
        "none of its 1 checkpoints can be read .*; give another run's model directory, or start "
        "without"
    )
    with pytest.raises(FunnelError, match=said):
        new.train()
    for path in broken.glob("checkpoints/*"):
        path.unlink()
    with pytest.raises(FunnelError, match="holds no checkpoint to start from; give another run's"):
        new.train()
    assert (
        make_estimator(tmp_path / "today", model=make_model("ple")).latest_step() == 1
    )  # the old run is there
