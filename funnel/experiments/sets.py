"""The data sets of the `defaults` experiment: `studied` to choose on, `held-out` to test on."""

from __future__ import annotations

from typing import Any

from funnel.experiments.data_sets import DataSet, Half
from funnel.experiments.public_sets import PUBLIC_SETS

SEEDS = {"studied": 1, "held-out": 2}  # of the simulator: other users and items
EVALUATED = 100_000  # rows of a simulation, so that rare labels count


def simulated(
    half: Half,
    rows: int,
    *,
    evaluated: int = EVALUATED,
    without: tuple[str, ...] = (),
    features: dict[str, Any] | None = None,
    **truth: Any,
) -> DataSet:
    """About `rows` training rows of demo.toml's logs, all mature; CTR and CVR, ESMM."""
    simulation = {"impressions": rows + evaluated, "days": 6, "trailing": "2d"}
    simulation |= {"seed": SEEDS[half]} | truth
    sections = {
        "simulate": simulation,
        "split": {"eval": {"fraction": evaluated / (rows + evaluated)}},
        "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}},
    }
    if features:
        sections["features"] = features
    return DataSet(half, "demo", sections, without, "esmm")


def table(
    half: Half,
    example: str,
    labels: dict[str, Any],
    *,
    without: tuple[str, ...] = (),
    lines: int | None = None,
    given: dict[str, str] | None = None,
) -> DataSet:
    """Adult or Census with other labels; `given` maps a label to the one that it depends on."""
    tasks: dict[str, dict[str, str]] = {name: {"label": name} for name in labels}
    for name, parent in (given or {}).items():
        tasks[name]["given"] = parent
    sections = {"labels": labels, "tasks": tasks}
    return DataSet(half, example, sections, without, "esmm" if given else "independent", lines)


def categorical(buckets: int, **more: Any) -> dict[str, Any]:
    return {"kind": "categorical", "buckets": buckets} | more


MARRIED = {"column": "marital_status"}
ADULT = {
    "income": {"column": "income", "equals": [">50K", ">50K."]},
    "never_married": MARRIED | {"equals": "Never-married"},
}
ADULT_1K = {
    "never_married": MARRIED | {"equals": "Never-married"},
    "male": {"column": "sex", "equals": "Male"},
}
COLLEGE = ["Bachelors", "Masters", "Prof-school", "Doctorate"]
ADULT_OTHER = {
    "long_hours": {"value": "hours_per_week", "at_least": 45},
    "college": {"column": "education", "equals": COLLEGE},
}
CENSUS = {
    "income": {"column": "income", "equals": "50000+."},
    "never_married": MARRIED | {"equals": "Never married"},
}
UNION = {
    "asked": {"column": "union_member", "equals": ["Yes", "No"]},
    "member": {"column": "union_member", "equals": "Yes"},
}
ORIGIN = {
    "naturalized": {
        "column": "citizenship",
        "equals": "Foreign born- U S citizen by naturalization",
    },
    "veteran": {"column": "veteran_benefits", "equals": "1"},
}
SPARSE = {  # demo.toml's features with tables for 200,000 users and 50,000 items
    "user_id": categorical(1_000_000),
    "item_id": categorical(250_000),
    "user_segment": categorical(100),
    "category": categorical(100),
    "advertiser_id": categorical(1000),
    "device_type": categorical(50),
    "country": categorical(100),
    "position": categorical(50),
    "tags": categorical(1000, max_length=4),
    "price": {"kind": "numeric", "transform": "log1p"},
    "user_age": {"kind": "numeric"},
    "segment_x_category": {
        "kind": "cross",
        "of": ["user_segment", "category"],
        "buckets": 5000,
    },
}
NARROW = (
    *("user_id", "item_id", "advertiser_id", "device_type", "country", "tags"),
    *("user_age", "segment_x_category"),
)
FEW_USERS: dict[str, Any] = {
    "users": 200,
    "items": 100,
    "signal": 2.0,
    "selection": 0.0,
    "correlation": -0.2,
}
MANY: dict[str, Any] = {"users": 200_000, "items": 50_000, "correlation": 0.9}
RARE: dict[str, Any] = {"ctr": 0.01, "cvr": 0.2}

SETS: dict[str, DataSet] = {
    "sim-30k": simulated("studied", 30_000),
    "sim-250k": simulated("studied", 250_000),
    "rare-40k": simulated("studied", 40_000, evaluated=200_000, **RARE),
    "rare-250k": simulated("studied", 250_000, evaluated=200_000, **RARE),
    "adult-1600": table("studied", "adult", ADULT, lines=1600),
    "adult-33k": table("studied", "adult", ADULT),
    "census-10k": table("studied", "census", CENSUS, lines=10_000),
    "census-200k": table("studied", "census", CENSUS),
    "sim-1k": simulated("held-out", 1000, ctr=0.4, cvr=0.5),
    "adult-1k": table("held-out", "adult", ADULT_1K, without=("sex",), lines=1000),
    "adult-other-33k": table(
        "held-out",
        "adult",
        ADULT_OTHER,
        without=("hours_per_week", "education", "education_num"),
    ),
    "census-origin-50k": table(
        "held-out",
        "census",
        ORIGIN,
        without=("citizenship", "birth_country", "veteran_benefits", "veteran_questionnaire"),
        lines=50_000,
    ),
    "census-union-200k": table(
        "held-out",
        "census",
        UNION,
        without=("union_member", "wage_per_hour"),
        given={"member": "asked"},
    ),
    "few-users-50k": simulated("held-out", 50_000, **FEW_USERS),
    "few-features-100k": simulated("held-out", 100_000, without=NARROW),
    "sparse-100k": simulated("held-out", 100_000, features=SPARSE, **MANY),
    "rarest-250k": simulated("held-out", 250_000, ctr=0.01, cvr=0.01),
    "sim-1m": simulated("held-out", 1_000_000, signal=0.8, selection=1.0),
    **PUBLIC_SETS,
}
