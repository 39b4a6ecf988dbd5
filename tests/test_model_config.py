"""The model's configuration: names looked up in the dicts, options checked by the entry's own
Params.
"""

import pytest
from model_data import SMALL, make_spec

from features.errors import FunnelError
from model.config import ModelConfig
from model.funnels import FUNNELS
from model.sharing import SHARING
from model.training.config import TrainConfig


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("funnel", FUNNELS)
def test_a_dump_parses_to_the_same_configuration(sharing, funnel):
    config = ModelConfig.parse(
        {
            "sharing": {"name": sharing} | SMALL[sharing],
            "funnel": {"name": funnel, "tower_units": [3]},
        }
    )
    assert isinstance(config.sharing, SHARING[sharing].Params)
    dumped = config.model_dump(mode="json")
    assert (
        dumped["sharing"].items()
        >= {"name": sharing, "activation": "relu", **SMALL[sharing]}.items()
    )
    assert ModelConfig.parse(dumped) == config


def test_a_bare_name_takes_the_defaults():
    assert ModelConfig.parse({"sharing": "ple"}).sharing.levels == 2


def test_an_unknown_architecture_names_the_nearest():
    with pytest.raises(FunnelError, match=r"model\.sharing.*'plee'.*did you mean 'ple'\?"):
        ModelConfig.parse({"sharing": {"name": "plee"}}, "model")


def test_an_unknown_option_names_the_nearest_of_its_entry():
    with pytest.raises(
        FunnelError, match=r"model\.sharing.*unknown key 'level': did you mean 'levels'\?"
    ):
        ModelConfig.parse({"sharing": {"name": "ple", "level": 3}}, "model")


@pytest.mark.parametrize(
    ("sharing", "key"),
    [
        ({"name": "ple", "levels": 0}, "levels"),
        ({"name": "mmoe", "experts": 1}, "experts"),
        ({"name": "mmoe", "expert_units": []}, "expert_units"),
    ],
)
def test_an_option_out_of_range_is_named(sharing, key):
    with pytest.raises(FunnelError, match=key):
        ModelConfig.parse({"sharing": sharing}, "model")


def test_experts_that_multiply_embeddings_need_two_of_one_dim():
    features = {
        name: {"kind": "categorical", "buckets": 9, "dim": dim}
        for name, dim in (("user", 4), ("item", 2))
    }
    config = ModelConfig.parse({"sharing": {"name": "mmoe", "expert": "fm"}}, "model")
    with pytest.raises(
        FunnelError,
        match=(
            r"sharing\.expert = 'fm' multiplies embeddings in pairs, but no two features have the "
            r"same dim"
        ),
    ):
        config.check(make_spec(features=features))
    config.check(make_spec(features=features | {"shop": features["user"]}))


def test_how_many_steps_a_training_takes():
    assert TrainConfig.parse({"batch_size": 100, "epochs": 3}).total_steps(1000) == 30
    assert TrainConfig.parse({"batch_size": 100, "steps": 7}).total_steps(1000) == 7
    assert TrainConfig.parse({"batch_size": 100, "epochs": 1}).total_steps(10) == 1


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(FunnelError, match=r"steps = 5 and epochs = 2.0 both say how long to train"):
        TrainConfig.parse({"steps": 5, "epochs": 2})
