"""Options of models and trainings that would change nothing are refused."""

import pytest
from effects import ALONE, BASE, NUMBERS, changed

from features.errors import FunnelError
from funnel.config.config import load
from model.settings.schedules import Exponential
from model.settings.weighting import DWAParams
from model.training.config import RunConfig

REFUSED = [  # sections instead of BASE's, changes, the error
    ({}, {"features.user.pooling": "sum"}, r"features\.user\.pooling = 'sum' combines .* has one"),
    ({}, {"features.hour.pooling": "max"}, r"features\.hour\.pooling = 'max' combines .* has one"),
    ({}, {"features.band.pooling": "sum"}, r"features\.band\.pooling = 'sum' combines .* has one"),
    (
        {},
        {"features.tags.max_length": 1, "features.tags.pooling": "sum"},
        r"features\.tags\.pooling = 'sum' combines .* has one",
    ),
    (
        {},
        {
            "features.pair": {
                "kind": "cross",
                "of": ["user", "city"],
                "buckets": 9,
                "pooling": "max",
            }
        },
        r"features\.pair\.pooling = 'max' combines .* has one",
    ),
    (
        {},
        {"features.user.identity": True, "features.user.dtype": "int64"},
        r"dtype = 'int64' says nothing new, since identity takes integers: leave it out",
    ),
    *(
        (
            {},
            {"model.funnel.tower_units": units, f"model.funnel.{option}": value},
            rf"model\.funnel: {option} = .* is for hidden layers, and tower_units = .* gives none",
        )
        for units in ([], {"ctr": [], "cvr": []})
        for option, value in (
            *(("activation", "tanh"), ("normalize", "batch"), ("dropout", 0.1), ("l2", 0.1)),
        )
    ),
    (
        {},
        {"model.funnel.tower_units": [], "model.funnel.residual": True},
        r"model\.funnel: residual = true joins layers of one width, but no two neighbors",
    ),
    *(
        (
            {},
            {"model.sharing": {"name": "mose", option: value}},
            rf"model\.sharing: {option} = .* is for hidden layers, and gate_units = \[\] gives no",
        )
        for option, value in (("activation", "tanh"), ("normalize", "batch"), ("dropout", 0.1))
    ),
    *(
        (
            {},
            {f"model.sharing.{option}": value},
            rf"{option} is for expert = '{expert}', and expert = 'mlp': give that kind",
        )
        for option, value, expert in (
            *(("cross_layers", 3, "cross"), ("lstm_units", 8, "lstm")),
            ("sequences", ["recent"], "lstm"),
        )
    ),
    (
        ALONE,
        {"model.sharing": {"name": "single_task", "share_embeddings": True}},
        r"share_embeddings = True is for several heads, and the funnel has only 'ctr': leave",
    ),
    (
        ALONE,
        {"model.sharing": {"name": "cross_stitch", "own_share": 0.5}},
        r"own_share = 0\.5 is for several heads, and the funnel has only 'ctr': leave it out",
    ),
    (
        {},
        {"model.funnel": {"name": "escm2", "counterfactual_weight": 0, "estimator": "dr"}},
        r"model\.funnel\.estimator = 'dr' belongs to the counterfactual risk",
    ),
    (
        {},
        {"model.funnel": {"name": "escm2", "counterfactual_weight": 0, "propensity_floor": 0.1}},
        r"model\.funnel\.propensity_floor = 0\.1 belongs to the counterfactual risk",
    ),
    (
        ALONE,
        {"model.weighting": "dwa"},
        r"'dwa' compares how fast losses fall, and 'ctr' is the only objective",
    ),
    (
        {},
        {"model.weighting": {"name": "pcgrad", "seed": 2}},
        r"model\.weighting\.seed = 2 draws the order of projections, and of ctr and ctcvr each",
    ),
    *(
        (
            NUMBERS,
            {f"train.{option}": value},
            rf"train\.{option} is for embedding tables, and no feature has one: leave it out",
        )
        for option, value in (("embedding_learning_rate", 0.1), ("embedding_optimizer", "ftrl"))
    ),
    (
        NUMBERS,
        {"train.wide_learning_rate": 0.5},
        r"train\.wide_learning_rate = 0\.5 is for the tables of the wide part, and no feature has",
    ),
    (
        {},
        {"model.wide": False, "train.wide_learning_rate": 0.5},
        r"train\.wide_learning_rate = 0\.5 .* model\.wide = false leaves them out",
    ),
    ({}, {"train.held_out": 0.2}, r"train\.held_out = 0\.2: no rows are held out, since nothing"),
    *(
        (
            {},
            {"train.optimizer": {"name": "adam", option: value}},
            rf"{option} = .* is not an option here, since averages of weights are neither",
        )
        for option, value in (
            *(("use_ema", True), ("ema_momentum", 0.9), ("ema_overwrite_frequency", 2)),
        )
    ),
    (
        {},
        {"train.optimizer": {"name": "ftrl", "weight_decay": 0.1}},
        r"weight_decay = 0\.1 does not make FTRL's weights decay",
    ),
    (
        {},
        {"train.optimizer": {"name": "sgd", "nesterov": True}},
        r"nesterov = True changes nothing where momentum is 0",
    ),
    ({}, {"train.schedule": {"name": "constant", "warm_up_steps": 1}}, r"the first of 1 step has"),
    (
        {},
        {"train.schedule": {"name": "exponential", "decay_rate": 1, "decay_steps": 9}},
        r"decay_rate = 1: Input should be less than 1",
    ),
    (
        {},
        {"train.schedule": {"name": "cosine", "alpha": 1, "decay_steps": 9}},
        r"alpha = 1: Input should be less than 1",
    ),
    (
        {},
        {
            "train.schedule.name": "exponential",
            **{"train.schedule.decay_rate": 0.5, "train.schedule.decay_steps": 1},
            "train.schedule.staircase": True,
        },
        r"staircase = True rounds t / decay_steps down, and decay_steps = 1 gives whole numbers",
    ),
    (
        {},
        {"train.cache_gib": 5.0},
        r"train\.cache_gib = 5 bounds the cache of remote data, and runs/x/data is local",
    ),
    (
        {},
        {"warm_start.refresh_statistics": True},
        r"refresh_statistics = true chooses between the statistics of two runs: give run",
    ),
    (
        ALONE,
        {"evaluation.truth": "truth.parquet"},
        r"evaluation\.truth = 'truth\.parquet' evaluates tasks after a click .* no task has",
    ),
    ({}, {"evaluation.early_stopping.metric": "ctr auc"}, r"needs evaluations during training"),
]


@pytest.mark.parametrize(("sections", "changes", "error"), REFUSED)
def test_an_option_that_would_do_nothing_is_refused(sections, changes, error):
    with pytest.raises(FunnelError, match=error):
        load(changed(BASE | sections, changes)).check()


def test_options_that_begin_after_the_last_step():
    stairs = Exponential(name="exponential", decay_rate=0.5, decay_steps=9, staircase=True)
    stairs.check_steps(10)
    with pytest.raises(
        FunnelError, match=r"decay_steps = 9: the training has 9 steps, so the stai"
    ):
        stairs.check_steps(9)
    DWAParams(name="dwa", period=4).check_steps(8)
    with pytest.raises(
        FunnelError, match=r"period = 4: weights change after two periods, and .* 7 "
    ):
        DWAParams(name="dwa", period=4).check_steps(7)
    RunConfig(profile=(9, 12)).check_steps(9)
    with pytest.raises(FunnelError, match=r"profile = \[9, 12\]: the training ends at step 8, bef"):
        RunConfig(profile=(9, 12)).check_steps(8)
