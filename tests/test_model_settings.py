"""The settings of [model] and [train]: what they say of the entries is what the entries do, and an
entry of one's own is one file and one line.
"""

import sys

import pytest
from model_data import DWELL, LABELS, TASKS, make_spec
from pairs import CART, COURSES, config_of, spec_of

from features.errors import FunnelError
from features.fitted import Fitted
from model.config import ModelConfig, needs_tensorflow
from model.funnels import FUNNELS
from model.optimizers import RULES
from model.ranking import RankingModel
from model.registry import Registry
from model.settings.base import ObjectiveTraits
from model.settings.funnels import FUNNEL_PARAMS
from model.settings.rules import RULE_PARAMS
from model.settings.sharing import SHARING_PARAMS
from model.settings.weighting import WEIGHTING_PARAMS
from model.sharing import SHARING
from model.training.config import TrainConfig
from model.weighting import WEIGHTING

REGISTRIES = {
    "sharing": (SHARING, SHARING_PARAMS),
    "funnel": (FUNNELS, FUNNEL_PARAMS),
    "weighting": (WEIGHTING, WEIGHTING_PARAMS),
    "embedding_optimizer": (RULES, RULE_PARAMS),
}


@pytest.mark.parametrize("axis", REGISTRIES)
def test_the_settings_list_the_options_of_the_entries(axis):
    registry, params = REGISTRIES[axis]
    assert {name: registry[name].Params for name in params} == params
    others = {name: registry[name].Params for name in registry if name not in params}
    listed = [p for p in others.values() if p.__module__ in OF_ENTRIES]
    assert listed == []  # what is declared beside them is listed, too


OF_ENTRIES = {p.__module__ for _, params in REGISTRIES.values() for p in params.values()}
OF_ENTRIES -= {"model.settings.base"}
# A chain of three, its last task declared first.
LONG = {
    "buy": {"label": "convert", "given": "cart"},
    "ctr": {"label": "click"},
    "add": {"label": "cart", "given": "click"},
}
JOINT = {
    "ctr": {"label": "click"},
    "cvr": {"label": "convert", "given": "click", "label_is_joint": True},
}
SPECS = {
    "long": make_spec(labels=LABELS | CART, tasks=LONG),
    "joint": make_spec(tasks=JOINT),
    "one": make_spec(tasks={"ctr": TASKS["ctr"]}),
    "number": make_spec(**DWELL),
}
OVER = [
    *[(funnel, "its own") for funnel in COURSES],
    *[("independent", spec) for spec in SPECS],
    *[(funnel, "long") for funnel in ("esmm", "dbmtl", "aitm")],
    *[(funnel, "joint") for funnel in ("esmm", "dbmtl", "aitm", "escm2", "escm2_dr")],
]


@pytest.mark.parametrize(("funnel", "over"), OVER)
def test_the_objectives_of_the_settings_are_those_of_the_graph(funnel, over):
    config, spec = config_of("mmoe", funnel), SPECS.get(over) or spec_of(funnel)
    found = FUNNELS[config.funnel.name].probe_objectives(config.funnel, spec)
    declared = config.funnel.objectives_of(spec)
    assert found == (config.check(spec) if declared is None else declared)
    assert declared is not None or config.funnel.name not in FUNNEL_PARAMS


def test_objectives_on_paper():
    assert config_of("mmoe", "aitm").check(SPECS["long"]) == [
        ObjectiveTraits("ctr", {"ctr"}),
        ObjectiveTraits("ctr_add", {"ctr", "add"}),
        ObjectiveTraits("add_buy", {"ctr", "add", "buy"}),
        ObjectiveTraits("calibrator_add", {"ctr", "add"}, penalty="calibrator_weight"),
        ObjectiveTraits("calibrator_buy", {"ctr", "add", "buy"}, penalty="calibrator_weight"),
    ]


def test_an_entry_is_imported_when_it_is_first_read(tmp_path, monkeypatch):
    (tmp_path / "late_entry.py").write_text("class Late:\n    Params = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry({"late": "late_entry:Late", "other": "nowhere:Other"}, {"other": int})
    assert list(registry) == ["late", "other"]
    assert len(registry) == 2
    assert ("late" in registry, "later" in registry) == (True, False)
    assert registry.params("other") is int
    assert "late_entry" not in sys.modules
    assert registry.params("late") is dict
    assert registry["late"] is registry.by_class_name("Late") is sys.modules["late_entry"].Late
    registry["other"] = registry.pop("late")  # the options are now those of the new class
    assert registry.params("other") is dict
    with pytest.raises(AttributeError, match="no entry has a class Early: known: other"):
        registry.by_class_name("Early")
    with pytest.raises(KeyError):
        registry.params("late")


def test_the_packages_hold_the_classes_of_their_entries():
    from model import funnels, sharing
    from model.sharing import PLE

    assert PLE is SHARING["ple"]
    assert sharing.CrossStitchNetwork is SHARING["cross_stitch"]
    assert funnels.ESM2 is FUNNELS["esm2"]
    with pytest.raises(AttributeError, match="PLEE"):
        _ = sharing.PLEE


OWN = '''
import tensorflow as tf
from pydantic import Field

from model.funnels.independent import Independent
from model.layers import MLP
from model.optimizers.base import Rule
from model.settings.base import FunnelParams, RuleParams, SharingParams, WeightingParams
from model.sharing.base import Sharing
from model.weighting.base import Weighting


class Narrow(Sharing):
    class Params(SharingParams):
        width: int = Field(4, ge=1)

    def __init__(self, params, heads, **kwargs):
        super().__init__(params, heads, **kwargs)
        self.bottom = MLP([self.params.width], name="bottom")

    def share(self, inputs):
        return dict.fromkeys(self.heads, self.bottom(inputs.flat)), {}


class First(Independent):
    """Trains the first task alone; its objectives are only in its graph."""

    class Params(FunnelParams):
        pass

    def objectives(self, predictions, labels):
        return super().objectives(predictions, labels)[:1]


class Halves(Weighting):
    class Params(WeightingParams):
        share: float = Field(0.5, ge=0)

    def current(self):
        return tf.fill([len(self.objectives)], self.params.share)


class Signs(Rule):
    class Params(RuleParams):
        size: float = Field(1.0, gt=0)

    def __call__(self, w, slots, g, rate, step):
        return w - rate * self.params.size * tf.sign(g), ()
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file of one's own with an entry for each registry, and a line in each."""
    (tmp_path / "own_entries.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_entries", raising=False)
    lines = {"sharing": "Narrow", "funnel": "First", "weighting": "Halves"}
    for axis, name in (lines | {"embedding_optimizer": "Signs"}).items():
        monkeypatch.setitem(REGISTRIES[axis][0], "own", f"own_entries:{name}")


def test_entries_of_ones_own_with_options_in_their_file(own):
    model = ModelConfig.parse(
        {"sharing": {"name": "own", "width": 3}, "funnel": "own", "weighting": "own"}
    )
    assert model.check(make_spec()) == [ObjectiveTraits("ctr", {"ctr"})]
    assert ModelConfig.parse(model.model_dump(mode="json")) == model
    spec = make_spec()
    fitted = Fitted(moments=dict.fromkeys(spec.numeric, (0.0, 1.0)))
    built = RankingModel(spec, model, fitted, seed=1)
    assert built.sharings[0].bottom.dense[0].kernel.shape[-1] == 3
    assert [o.name for o in built.objectives] == ["ctr"]
    train = TrainConfig.parse({"embedding_optimizer": {"name": "own", "size": 2}})
    assert train.embedding_optimizer.size == 2.0


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"sharing": {"name": "own", "width": 0}}, r"^model\.sharing\.width = 0: Input should be"),
        (
            {"sharing": {"name": "own", "widht": 3}},
            r"^model\.sharing: unknown key 'widht': did you mean 'width'\?$",
        ),
        (
            {"funnel": {"name": "own", "tower": [3]}},
            r"^model\.funnel: unknown key 'tower': did you mean 'tower_units'\?$",
        ),
        ({"weighting": "owm"}, r"name = 'owm' is unknown: did you mean 'own'\? known: decay"),
    ],
)
def test_mistakes_in_entries_of_ones_own(own, sections, message):
    with pytest.raises(FunnelError, match=message):
        ModelConfig.parse(sections, "model")


@pytest.mark.parametrize("name", [["ple"], 5, None])
def test_a_name_is_a_text(name):
    with pytest.raises(FunnelError, match=r"model\.sharing: name = .* is unknown: .*known: asymm"):
        ModelConfig.parse({"sharing": {"name": name}}, "model")
    with pytest.raises(FunnelError, match=r"train\.embedding_optimizer: name = .* is unknown"):
        TrainConfig.parse({"embedding_optimizer": {"name": name}}, "train")
    with pytest.raises(FunnelError, match=r"train\.optimizer: name = .* is unknown: .*known: ada"):
        TrainConfig.parse({"optimizer": {"name": name}}, "train")


def test_only_an_entry_with_options_in_its_file_needs_tensorflow(own):
    rule = {"embedding_optimizer": {"name": "own"}}
    assert [needs_tensorflow({axis: "own"}, {}) for axis in ("sharing", "funnel")] == [True, True]
    assert needs_tensorflow({}, rule)
    assert not needs_tensorflow({}, {})
    assert not needs_tensorflow({"sharing": "ple", "funnel": "none", "weighting": 5}, {})
    _ = RULES["own"]
    assert not needs_tensorflow({}, rule)
