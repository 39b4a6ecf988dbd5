"""Every option has an effect that is shown, and where it would have none it is refused."""

import pytest
import test_effects_features
import test_effects_layers
import test_effects_optimizers
import test_effects_pipeline
import test_effects_run
import test_effects_simulation
import test_effects_training
from effects import BASE, BASES, DOCUMENTS, ENTRIES, classes, differs, options

from funnel.config.config import Sections, load

SHOWN = (
    test_effects_features,
    test_effects_layers,
    test_effects_optimizers,
    test_effects_pipeline,
    test_effects_run,
    test_effects_simulation,
    test_effects_training,
)
# Every value but the default is refused: tests/test_effects_refused.py.
NEVER = {"Time.pooling", "Bucketized.pooling", "FtrlOptions.weight_decay"}
SECTIONS = {  # a change of each section
    "run": {"run": "runs/y"},
    "data": {"data": "s3://logs/ads"},
    "simulate": {"simulate": {}},
    "dates": {"dates": "2026-11-01"},
    "logs": {"logs.clicks.files": "c/*.jsonl"},
    "labels": {"labels.click.within": "1h"},
    "features": {"features.user.dim": 5},
    "split": {"split.eval": {"fraction": 0.2}},
    "sampling": {"sampling.negatives": 0.5},
    "output": {"output.shards": 2},
    "tasks": {"tasks.ctr.threshold": 0.2},
    "model": {"model.wide": False},
    "train": {"train.epochs": 2},
    "warm_start": {"warm_start.run": "runs/y"},
    "evaluation": {"evaluation.every": 10},
    "exporters": {"exporters.final": {}},
}


def test_every_option_has_an_entry():
    shown = [option for module in SHOWN for option in module.OPTIONS]
    shown += [*NEVER, *(f"Sections.{name}" for name in SECTIONS)]
    assert sorted(shown) == sorted(set(shown)), "an option has two entries"
    known = options()
    assert known - set(shown) == set(), "options without an entry in tests/test_effects_*.py"
    assert set(shown) - known == set(), "entries of options that are gone"


def test_what_the_reflection_leaves_out():
    known = classes()
    assert known.keys() >= DOCUMENTS | BASES
    for base in BASES:
        assert any(base in bases for _, bases in known.values()), f"{base} is the base of nothing"
    assert options() >= ENTRIES
    assert len(known) > 70


@pytest.mark.parametrize("section", Sections.model_fields)
def test_every_section_is_kept_with_the_run(section):
    differs(lambda sections: load(sections).resolved(), BASE, SECTIONS[section])
