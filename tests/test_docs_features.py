"""docs/features.md: every block of configuration in it is one that the program takes."""

import re
import tomllib
from pathlib import Path

import pytest

from features.spec import Spec
from funnel.config.config import Sections
from pipeline.checks import check_config
from pipeline.config import PreprocessConfig

PAGE = (Path(__file__).parents[1] / "docs/features.md").read_text()
FEATURES, LOGS = (
    tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
)
CONVERT = {"event": "conversions", "within": "1d", "after": "click"}


def test_features():
    spec = Spec.parse(FEATURES)
    assert len({feature.kind for feature in spec.features.values()}) == 7
    assert "position" not in spec.request_columns


def test_logs():
    Sections.parse(LOGS)
    spec = Spec.parse(FEATURES | {"labels": FEATURES["labels"] | {"convert": CONVERT}})
    config = check_config(PreprocessConfig.parse(LOGS | {"spec": spec}))
    assert str(config.dates.first) == "2026-11-01"
    assert config.vias == {"conversions": "clicks"}


@pytest.mark.parametrize("section", ["features", "labels", "tasks"])
def test_the_page_shows_every_section_of_a_spec(section):
    assert section in FEATURES
