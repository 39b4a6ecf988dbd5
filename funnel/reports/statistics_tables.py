"""statistics.json as tables in the terminal, each narrow enough for 100 columns."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from features.errors import one_line
from funnel.console import table
from pipeline.statistics.relevance import TOO_GOOD

DAYS = 31  # shown
TOP = 3  # values of a feature, groups of values that share a bucket
WIDEST = 22  # characters of a value
QUANTILES = ("p1", "p5", "p25", "p50", "p75", "p95", "p99")


def show(statistics: dict[str, Any]) -> None:
    """All tables that have rows."""
    show_labels(statistics)
    show_days(statistics["days"])
    show_features(statistics["features"])
    show_relevance(statistics)


def show_labels(statistics: dict[str, Any]) -> None:
    """Counts and rates by split, and correlations of labels."""
    means = statistics["means"]
    header = [
        "split, label",
        "positive",
        "negative",
        "unknown",
        "rate",
        *(["mean"] if any(means.values()) else []),
    ]
    lines = [
        [
            f"{split} {name}",
            *counts.values(),
            statistics["rates"][split][name],
            means[split].get(name),
        ][: len(header)]
        for split, by_name in statistics["labels"].items()
        for name, counts in by_name.items()
    ]
    table(
        "Labels (rows written; a rate is of known rows, or of the positives of the label before)",
        header,
        lines,
    )
    if statistics["correlations"]:
        lines = [
            [", ".join(c["labels"]), c["rows"], c["pearson"], c["spearman"]]
            for c in statistics["correlations"]
        ]
        sampled = f"{statistics['sample_rows']:,} sampled training rows"
        title = f"Correlation of labels (where both are known, of {sampled})"
        table(title, ["labels", "rows", "Pearson", "Spearman"], lines)


def show_days(days: dict[str, Any]) -> None:
    """The latest days: rows, and of each label its positives and rate."""
    if not days:
        return
    latest = list(days.items())[-DAYS:]
    title = (
        "Days (UTC, rows written)"
        if len(days) == len(latest)
        else f"Days (UTC, rows written; the last {DAYS} of {len(days)})"
    )
    labels = list(latest[0][1]["labels"])
    lines = [[day, one["rows"], *(_funnel(one, label) for label in labels)] for day, one in latest]
    table(title, ["day", "rows", *labels], lines)


def _funnel(day: dict[str, Any], label: str) -> str:
    return f"{day['labels'][label]['positive']:,} = {_share(day['rates'][label])}"


def show_features(features: dict[str, Any]) -> None:
    """Features with ids over all valid rows, numbers over the training rows."""
    with_ids = {name: one["valid"] for name, one in features.items() if "valid" in one}
    if with_ids:
        lines = [
            [n, _share(one["missing"] / one["rows"]), _distinct(one), *_top(one)]
            for n, one in with_ids.items()
        ]
        header = ["feature", "missing", "distinct", *(f"{n}. value" for n in range(1, TOP + 1))]
        table("Features with ids (all valid rows)", header, lines)
    hashed = {name: one["collisions"] for name, one in with_ids.items() if "collisions" in one}
    if hashed:
        lines = [
            [n, one["buckets"], _share(one["expected_share"]), one["buckets_for_1_percent"]]
            for n, one in hashed.items()
        ]
        table(
            "Hash collisions",
            ["feature", "buckets", "values that share theirs", "buckets for under 1 %"],
            lines,
        )
    show_groups({name: one["frequent"] for name, one in hashed.items() if one["frequent"]})
    numbers = {name: one for name, one in features.items() if "quantiles" in one}
    if numbers:
        lines = [
            [
                n,
                o["count"],
                o["missing"],
                *map(_digits, (o["min"], o["max"], o["mean"], o["std"])),
            ]
            for n, o in numbers.items()
        ]
        header = ["feature", "rows", "missing", "min", "max", "mean", "std"]
        table("Numbers (training rows; mean and std after transform)", header, lines)
        lines = [
            [name, *(_digits(one["quantiles"].get(q)) for q in QUANTILES)]
            for name, one in numbers.items()
        ]
        table(
            "Quantiles (sampled training rows)",
            ["feature", *(q.removeprefix("p") + " %" for q in QUANTILES)],
            lines,
        )


def show_groups(groups: dict[str, list[Any]]) -> None:
    """The frequent values that share a bucket."""
    lines = [
        [name, *(_cut(v) + f" {_share(share)}" for v, share in group["values"][:TOP])]
        for name, some in groups.items()
        for group in some[:TOP]
    ]
    if lines:
        header = ["feature", *(f"{n}. value" for n in range(1, TOP + 1))]
        title = "Frequent values that share a bucket (occurrences for each valid row)"
        table(title, header, [[*line, *[None] * (len(header) - len(line))] for line in lines])


def show_relevance(statistics: dict[str, Any]) -> None:
    """AUC of each feature alone, the best first; possible label leakage is marked."""
    by_feature = statistics["relevance"]
    labels = list(next(iter(by_feature.values()), {}))
    if not labels:
        return
    ranked = sorted(
        by_feature.items(),
        key=lambda item: -max((v for v in item[1].values() if v is not None), default=0),
    )
    lines = [[name, *(_auc(aucs[label]) for label in labels)] for name, aucs in ranked]
    table(
        "AUC of each feature alone (cross-fitted on sampled training rows)",
        ["feature", *labels],
        lines,
    )


def _auc(value: float | None) -> Text | None:
    if value is None:
        return None
    return Text(f"{value:.3f}", "bold red" if value > TOO_GOOD else "")


def _distinct(one: dict[str, Any]) -> str:
    return f"{'' if one['distinct_is_exact'] else '≈ '}{one['distinct']:,}"


def _top(one: dict[str, Any]) -> list[str | None]:
    """The most frequent values and their shares of the rows, as many as there are columns."""
    shown = [f"{_cut(text)} {_share(count / one['rows'])}" for text, count in one["top"][:TOP]]
    return [*shown, *[None] * (TOP - len(shown))]


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _share(value: float | None) -> str | None:
    """A share in percent, with two significant digits if it is small."""
    if value is None:
        return "–"
    percent = 100 * value
    if percent >= 99.5 or percent == 0:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def _digits(value: float | None) -> str | None:
    """Four digits, so that seven numbers fit a line."""
    return None if value is None else f"{value:.4g}"
