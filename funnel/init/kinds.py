"""Columns → proposed features, or the reason why a column is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from funnel.init.keys import ID_WORDS, words
from funnel.init.reading.columns import PARSE, times
from funnel.init.reading.profile import Profile
from pipeline.statistics.collisions import expected
from pipeline.statistics.relevance import by_value, values_of_numbers

VOCABULARY = 1000  # distinct values up to which each has a row of its own
FEW = 20  # distinct whole numbers up to which they are categories
ROW_ID = 0.95  # distinct values for each value, from which a column identifies rows
CONSTANT = 0.005  # the share of rows that must differ from the most frequent value
SKEWED = 1.0  # skewness from which log1p is proposed
LIST_COVERS = 0.99  # the share of lists that max_length holds whole
LONGEST = 100  # values of a list
ROWS_A_VALUE = 10  # rows for each value, to judge whether its values have an order
CATEGORY_GAIN = 0.01  # AUC that the values of a whole number gain over its 20 quantile bins
LONG_TEXT = 60  # mean characters, from which texts that mostly differ are prose
CATEGORY_WORDS = ID_WORDS | {"code", "type", "zip", "category", "cat", "position", "slot", "class"}
QUANTITY_WORDS = {
    "age", "amount", "price", "cost", "count", "num", "gain", "gains", "loss", "losses", "wage",
    "salary", "weeks", "days", "hours", "minutes", "seconds", "duration", "size", "length",
    "width", "height", "score", "rate", "ratio", "total", "sum", "avg", "mean", "revenue", "qty",
    "quantity", "balance", "fee",
}  # fmt: skip
HISTORY_WORDS = {"recent", "history", "hist", "last", "previous", "viewed", "sequence", "seq"}
POSITIVES = 10  # rows of label 1 for each hour or weekday
PERIODS = {"weekday": "week", "hour": "day"}
DAY = 86_400e6  # µs


@dataclass(frozen=True)
class Proposal:
    """A feature, or with `declaration` None a column that is left out; `why` is the evidence."""

    column: str
    declaration: dict[str, Any] | None
    why: str


def propose(profile: Profile, labels: dict[str, np.ndarray], folds: np.ndarray) -> Proposal:
    """The feature that suits a column.

    Args:
        profile: the column.
        labels: [n] labels by name, −1 where unknown: do whole numbers have an order?
        folds: [n] the fold of each row.
    """
    refused = _useless(profile)
    if refused:
        return Proposal(profile.name, None, refused)
    if profile.type == "time":
        return time_part(profile, labels)
    if profile.is_list:
        return _list(profile)
    if profile.type == "number":
        return _number(profile)
    if profile.type == "integer" and _counts_up(profile):
        return Proposal(profile.name, None, "numbers the rows: it rises from row to row")
    if profile.type == "integer" and not _is_category(profile, labels, folds):
        return _number(profile)
    if profile.unique >= ROW_ID and profile.distinct > 1:
        return Proposal(
            profile.name,
            None,
            f"looks like an id of the row: {_distinct(profile)}"
            if not _is_prose(profile)
            else f"looks like prose: {_distinct(profile)}",
        )
    return _categorical(profile)


def buckets_for(distinct: int) -> int:
    """Hash buckets for an estimated number of values: about ten for each, two beyond a million
    buckets, at most 20 million; rounded to two digits.

    Example:
        >>> buckets_for(9_834), buckets_for(3_000_000)
        (98000, 6000000)
    """
    wanted = max(min(10 * distinct, 1_000_000), 2 * distinct)
    wanted = min(wanted, 20_000_000)
    unit = 10 ** max(len(str(wanted)) - 2, 0)
    return int((wanted + unit // 2) // unit * unit)


def _useless(profile: Profile) -> str | None:
    if not profile.present:
        return f"no value in {profile.rows:,} rows"
    if profile.type == "other":
        return f"holds {profile.stored}: no kind of feature reads it"
    top = int(profile.frequencies.max())
    differing = profile.present - top + profile.missing
    if profile.distinct == 1 and not profile.missing:
        return f"constant: '{profile.most_frequent(1)[0][0]}' in all {profile.rows:,} rows"
    if differing < CONSTANT * profile.rows and not profile.is_list:
        return f"nearly constant: {differing} of {profile.rows:,} rows differ"
    return None


def _counts_up(profile: Profile) -> bool:
    """Whether whole numbers rise from each row to the next."""
    return (
        profile.numbers is not None
        and profile.missing == 0
        and profile.rows > FEW
        and bool((np.diff(profile.numbers) > 0).all())
    )


def _is_category(profile: Profile, labels: dict[str, np.ndarray], folds: np.ndarray) -> bool:
    """Whether whole numbers are names: few, named like one, or without an order that bins keep."""
    named = set(words(profile.name))
    if QUANTITY_WORDS & named and not CATEGORY_WORDS & named:
        return False
    if profile.distinct <= FEW or CATEGORY_WORDS & named:
        return True
    judged = profile.distinct <= min(VOCABULARY, profile.rows / ROWS_A_VALUE)
    if not judged or profile.numbers is None:
        return False
    return any(_gain(profile, label, folds) >= CATEGORY_GAIN for label in labels.values())


def _gain(profile: Profile, label: np.ndarray, folds: np.ndarray) -> float:
    """AUC of the single values − AUC of 20 quantile bins."""
    single = by_value(profile.label_values, label, folds)
    binned = by_value(values_of_numbers(profile.numbers), label, folds)  # type: ignore[arg-type]
    return (single or 0.0) - (binned or 0.0)


def _categorical(profile: Profile) -> Proposal:
    declared: dict[str, Any] = {"kind": "categorical"}
    if profile.estimate <= VOCABULARY:
        why = _distinct(profile)
        return Proposal(profile.name, declared | {"min_count": 1, "dim": 8}, why)
    buckets = buckets_for(profile.estimate)
    share = expected(profile.estimate, buckets)["expected_share"]
    why = f"{_distinct(profile)}; {100 * share:.0f} % share a bucket"
    dim = 8 if profile.estimate <= 100_000 else 16
    return Proposal(profile.name, declared | {"buckets": buckets, "dim": dim}, why)


def _list(profile: Profile) -> Proposal:
    counts = profile.counts if profile.counts is not None else np.zeros(0, int)
    if profile.type not in ("text", "integer") and not profile.separator:
        return Proposal(profile.name, None, f"holds {profile.stored}: no kind of feature reads it")
    longest = int(counts.max())
    kept = min(max(int(np.quantile(counts, LIST_COVERS, method="higher")), 1), LONGEST)
    single = _categorical(profile)
    declared = dict(single.declaration or {}) | {"max_length": kept}
    if HISTORY_WORDS & set(words(profile.name)):
        declared["kind"] = "sequence"
    if profile.separator:
        declared["separator"] = profile.separator
    cut = float((counts > kept).mean())
    why = f"{single.why}; lists of 0–{longest}" + (f", {100 * cut:.1f} % cut" if cut else "")
    return Proposal(profile.name, declared, why)


def _number(profile: Profile) -> Proposal:
    numbers = profile.numbers if profile.numbers is not None else np.zeros(0)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return Proposal(profile.name, None, f"no finite number in {profile.rows:,} rows")
    low, middle, high = np.quantile(known, [0, 0.5, 1])
    why = f"{low:,.6g} to {high:,.6g}, median {middle:,.6g}{_missing(profile)}"
    declared: dict[str, Any] = {"kind": "numeric"}
    if heavy_tailed(known):
        declared["transform"] = "log1p"
        why += "; heavy tail"
    if profile.unparsed:
        why += f"; {profile.unparsed:,} are not numbers: their rows are rejected"
    return Proposal(profile.name, declared, why)


def time_part(profile: Profile, labels: dict[str, np.ndarray]) -> Proposal:
    """The hour of a column of times, or the weekday of dates; left out where the times span less
    than a day or a week, or a label has too few rows of 1 for so many values.
    """
    moments = times(profile)
    known = moments[np.isfinite(moments)] if moments is not None else np.zeros(0)
    outside = profile.rows - profile.missing - len(known)
    if outside > (1 - PARSE) * profile.rows:
        why = f"{outside:,} times are not within 1990 … 2100: their rows would be rejected"
        return Proposal(profile.name, None, why)
    dates = bool((known % DAY == 0).all())
    part, values, period = ("weekday", 7, 7 * DAY) if dates else ("hour", 24, DAY)
    if np.ptp(known) < period:
        return Proposal(profile.name, None, f"times that span less than a {PERIODS[part]}")
    fewest = min((int((label == 1).sum()) for label in labels.values()), default=None)
    if fewest is not None and fewest < POSITIVES * values:
        why = f"a time; {fewest} rows of label 1 are few for the {values} values of its {part}"
        return Proposal(profile.name, None, why)
    return Proposal(
        profile.name, {"kind": "time", "part": part, "dim": 4}, f"a time; its {part}, UTC"
    )


def _is_prose(profile: Profile) -> bool:
    if profile.type != "text":
        return False
    head = profile.encoded.dictionary[:1000].to_pylist()
    return float(np.mean([len(text) for text in head])) > LONG_TEXT


def heavy_tailed(numbers: np.ndarray) -> bool:
    """Whether numbers of at least 0 are skewed to the right, and less so after log(1 + x)."""
    if numbers.min() < 0:
        return False
    return _skewness(numbers) > max(SKEWED, abs(_skewness(np.log1p(numbers))))


def _skewness(numbers: np.ndarray) -> float:
    deviations = numbers - numbers.mean()
    spread = float(np.sqrt((deviations**2).mean()))
    return float((deviations**3).mean() / spread**3) if spread > 0 else 0.0


def _distinct(profile: Profile) -> str:
    count = f"{profile.distinct:,} distinct in {profile.rows:,} rows"
    if profile.estimate > profile.distinct * 1.05:
        count += f" (about {profile.estimate:,} in all)"
    return count + _missing(profile)


def _missing(profile: Profile) -> str:
    share = profile.missing / max(profile.rows, 1)
    return f"; {100 * share:.1f} % missing" if share >= 0.0005 else ""
