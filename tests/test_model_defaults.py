"""What suits the data where a configuration leaves it open."""

import math

import pytest
from model_data import TASKS, make_model, make_spec, make_train, write_data

from features.errors import FunnelError
from features.fitted import Outcome
from model.data.input import Data
from model.estimator.ranking_config import RankingConfig
from model.objectives.base_rates import BaseRates
from model.training.config import TrainConfig
from model.training.defaults import batch_size, epochs, suited


def rates(rows: int, clicks: int, convert: int, tasks: dict | None = None) -> BaseRates:
    counts = [((0, 0), rows - clicks), ((1, 0), clicks - convert), ((1, 1), convert)]
    outcomes = [
        Outcome(states={"click": c, "convert": v}, rows=n, weight=n) for (c, v), n in counts
    ]
    return BaseRates(make_spec(tasks=tasks or TASKS), outcomes)


def suit(
    rows: int,
    earlier: dict | None = None,
    tasks: dict | None = None,
    clicks: float = 0.1,
    largest_table: int = 50_000,
    **train: object,
):
    found = rates(rows, round(rows * clicks), round(rows * clicks / 10), tasks)
    return suited(
        TrainConfig.parse(train),
        rows,
        found,
        lambda share: math.ceil(share * rows),
        largest_table,
        earlier,
    )


@pytest.mark.parametrize(
    ("rows", "size"),
    # 2^round(log2(rows / 150)): 30,000 / 150 = 200, whose log2 is 7.64
    [
        (1, 1),
        (20, 20),
        (40, 32),
        (1_600, 32),
        (6_000, 32),
        (7_000, 64),
        (30_000, 256),
        (33_000, 256),
        (250_000, 2048),
        (600_000, 4096),
        (10**9, 4096),
    ],
)
def test_the_batch_size(rows, size):
    assert batch_size(rows) == size


@pytest.mark.parametrize(
    ("rarest", "largest_table", "length"),
    # ⌊∛(rarest / largest_table)⌋: ∛(12,382 / 50) = 6.28
    [
        (0, 100, 2),
        (18_000, 50_000, 2),
        (2_600, 100, 2),
        (2_700, 100, 3),
        (6_400, 100, 4),
        (12_382, 50, 6),
        (51_200, 100, 8),
        (10**9, 1, 8),
        (300, 0, 6),  # no embedded feature
    ],
)
def test_the_epochs(rarest, largest_table, length):
    assert epochs(rarest, largest_table) == length


def test_few_values_and_many_conversions_take_more_epochs():
    found = suit(100_000, largest_table=10)  # 1,000 conversions: ∛100 = 4.64
    assert found.chosen == {"rows": 100_000, "batch_size": 512, "epochs": 4}


def test_what_is_open_suits_the_rows():
    found = suit(30_000)
    assert (found.train.batch_size, found.train.epochs, found.train.steps, found.held_out) == (
        256,
        2,
        None,
        0,
    )
    assert found.chosen == {"rows": 30_000, "batch_size": 256, "epochs": 2}
    assert found.notes == ("for 30,000 training rows: batch_size = 256, epochs = 2",)


def test_what_is_given_stays():
    found = suit(30_000, batch_size=1000, steps=7)
    assert (found.train.batch_size, found.train.epochs, found.train.steps) == (1000, None, 7)
    assert found.notes == ()


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        FunnelError,
        match=(
            r"train.batch_size = 4096 is larger than the 1,600 training rows.*leave it out and "
            r"get 32"
        ),
    ):
        suit(1600, batch_size=4096)


@pytest.mark.parametrize(
    ("optimizer", "tables", "wide"),
    [
        (None, 0.05, 0.1),
        ("rowwise_adagrad", 0.05, 0.1),
        ("lazy_adam", 0.001, 0.002),
        ({"name": "ftrl"}, 0.05, 0.1),
    ],
)
def test_the_rates_of_tables_suit_their_optimizer(optimizer, tables, wide):
    train = TrainConfig.parse({"embedding_optimizer": optimizer} if optimizer else {})
    assert (train.embedding_learning_rate, train.wide_learning_rate) == (tables, wide)


def test_the_wide_parts_rate_follows_the_tables():
    assert TrainConfig.parse({"embedding_learning_rate": 0.2}).wide_learning_rate == 0.4
    assert (
        TrainConfig.parse(
            {"embedding_learning_rate": 0.2, "wide_learning_rate": 0.3}
        ).wide_learning_rate
        == 0.3
    )


def test_early_stop_holds_rows_out():
    found = suit(40_000, early_stop=True)
    # 400 conversions, of which a tenth would be 40
    assert not found.train.early_stop
    assert found.notes[0] == (
        "early_stop: the held-out rows would hold about 40 positives of 'cvr', fewer than 100: "
        "training ends by epochs"
    )
    found = suit(100_000, early_stop=True)
    assert (found.train.early_stop, found.held_out, found.train.epochs, found.chosen["rows"]) == (
        True,
        0.1,
        10,
        90_000,
    )


def test_calibration_needs_positives():
    tasks = TASKS | {"cvr": TASKS["cvr"] | {"calibrate": "isotonic"}}
    with pytest.raises(
        FunnelError,
        match=(
            r"tasks.cvr.calibrate = 'isotonic': the held-out rows hold about 40 positives.*raise "
            r"train.held_out"
        ),
    ):
        suit(40_000, tasks=tasks)
    found = suit(40_000, tasks=tasks, held_out=0.25)
    assert (found.held_out, found.train.early_stop, found.train.epochs) == (0.25, False, 2)


def test_a_warm_start_keeps_what_was_chosen_and_says_so():
    found = suit(160_000, earlier={"rows": 1600, "batch_size": 64, "epochs": 2.0})
    assert (found.train.batch_size, found.train.epochs) == (64, 2)
    assert found.chosen == {"rows": 1600, "batch_size": 64, "epochs": 2}
    assert found.notes[-1] == (
        "warm start: batch_size = 64, epochs = 2 were chosen for 1,600 training rows and are "
        "kept; for these rows the rule gives batch_size = 1024, epochs = 2"
    )
    given = suit(160_000, earlier={"rows": 1600, "batch_size": 64, "epochs": 2.0}, batch_size=512)
    assert (given.train.batch_size, given.chosen) == (512, {"rows": 1600, "epochs": 2})


def test_a_kept_batch_larger_than_the_data_is_cut_for_this_training_only():
    found = suit(1600, earlier={"rows": 400_000, "batch_size": 2048, "epochs": 2.0})
    assert found.train.batch_size == 1600
    assert found.chosen == {"rows": 400_000, "batch_size": 2048, "epochs": 2}
    assert found.notes[-1] == (
        "warm start: batch_size = 2048 is larger than the 1,600 training rows, so this training "
        "takes batches of 1600"
    )


def test_a_run_of_preprocessed_data_is_suited(tmp_path):
    data = Data(write_data(tmp_path), make_spec())
    config = RankingConfig.of(data, make_model(), make_train(batch_size=None, steps=None))
    assert (config.train.batch_size, config.train.epochs) == (32, 2)
    assert config.notes == ("for 200 training rows: batch_size = 32, epochs = 2",)


def test_a_warm_start_on_a_hundredth_of_the_rows_keeps_the_stored_rule(tmp_path):
    data = Data(write_data(tmp_path), make_spec())
    earlier = {"rows": 20_000, "batch_size": 128, "epochs": 3.0}
    open_train = make_train(batch_size=None, steps=None)
    config = RankingConfig.of(data, make_model(), open_train, earlier)
    assert (config.train.batch_size, config.train.epochs) == (128, 3)
    assert config.chosen == earlier
    assert config.notes == (
        "for 200 training rows: batch_size = 128, epochs = 3",
        "warm start: batch_size = 128, epochs = 3 were chosen for 20,000 training rows and are "
        "kept; for these rows the rule gives batch_size = 32, epochs = 2",
    )
