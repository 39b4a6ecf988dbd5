"""Public data sets of the `defaults` experiment, read from a folder that --public names.

Each is written as one CSV file first; docs/defaults.md says where their files are from.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from funnel.experiments.data_sets import DataSet

BANK = "age job marital education default housing loan contact month weekday duration campaign"
BANK += " pdays previous poutcome employment_change prices confidence euribor employed y"
SHOPPERS = "administrative administrative_time informational informational_time product"
SHOPPERS += " product_time bounces exits page_value special_day month system browser region"
SHOPPERS += " traffic visitor weekend revenue"
HISTORY = ("0", "2", "3", "4", "5", "6")  # of months, as the file numbers its columns


def _write(out: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _read(path: Path, separator: str = ",") -> list[list[str]]:
    """The rows of a file, whatever its characters."""
    with path.open(newline="", encoding="latin-1") as file:
        return [row for row in csv.reader(file, delimiter=separator) if row]


def movielens(folder: Path, out: Path) -> None:
    """Ratings beside their user and movie; genres are a text such as "3|5"."""
    users = {row[0]: row[1:] for row in _read(folder / "u.user", "|")}
    movies = {row[0]: row for row in _read(folder / "u.item", "|")}
    rows = []
    for user, movie, rating, second in _read(folder / "u.data", "\t"):
        item = movies[movie]
        genres = "|".join(str(n) for n, flag in enumerate(item[5:]) if flag == "1")
        rows.append([user, movie, rating, second, *users[user], item[2][-4:], genres])
    header = ["user_id", "movie_id", "rating", "time", "age", "gender", "occupation", "zip"]
    _write(out, [*header, "year", "genres"], rows)


def bank(folder: Path, out: Path) -> None:
    _write(out, BANK.split(), _read(folder / "bank-additional-full.csv"))


def shoppers(folder: Path, out: Path) -> None:
    _write(out, SHOPPERS.split(), _read(folder / "online_shoppers_intention.csv"))


def credit(folder: Path, out: Path) -> None:
    header, *rows = _read(folder / "UCI_Credit_Card.csv")
    names = [name.lower().replace(".", "_") for name in header]
    _write(out, names, rows)


def mail(folder: Path, out: Path) -> None:
    header, *rows = _read(folder / "hillstrom_primary_comparison.csv")
    _write(out, header, rows)


def _categorical(names: str, buckets: int = 200) -> dict[str, Any]:
    return {name: {"kind": "categorical", "buckets": buckets} for name in names.split()}


def _numeric(names: str, transform: str = "none") -> dict[str, Any]:
    return {name: {"kind": "numeric", "transform": transform} for name in names.split()}


def _public(
    convert: Callable[[Path, Path], None],
    features: dict[str, Any],
    labels: dict[str, Any],
    given: str | None = None,
) -> DataSet:
    """All rows, three tenths of them to evaluate on; a second label is `given` the first."""
    tasks = {name: {"label": name} for name in labels}
    if given:
        tasks[list(labels)[1]]["given"] = given
    sections = {
        "logs": {"table": {"format": "csv", "files": ""}},
        "labels": labels,
        "tasks": tasks,
        "features": features,
        "split": {"eval": {"fraction": 0.3}},
    }
    funnel, name = "esmm" if given else "independent", convert.__name__
    return DataSet("held-out", None, sections, (), funnel, None, name, convert)


AMOUNTS = " ".join(f"pay_amt{n}" for n in range(1, 7))
BILLS = " ".join(f"bill_amt{n}" for n in range(1, 7))
MAIL = "history_segment mens womens zip_code newbie channel segment"
SHOPPERS_LOG = "administrative administrative_time informational informational_time product"
PUBLIC_SETS: dict[str, DataSet] = {
    "shoppers-9k": _public(
        shoppers,
        _categorical("month system browser region traffic visitor weekend")
        | _numeric(SHOPPERS_LOG + " product_time page_value", "log1p")
        | _numeric("bounces exits special_day"),
        {"revenue": {"column": "revenue", "equals": "TRUE"}},
    ),
    "credit-21k": _public(
        credit,
        _categorical("sex education marriage " + " ".join(f"pay_{n}" for n in HISTORY))
        | _numeric(f"limit_bal {AMOUNTS}", "log1p")
        | _numeric(f"age {BILLS}"),
        {"default": {"column": "default_payment_next_month", "equals": "1"}},
    ),
    "bank-29k": _public(  # `duration` is known once the call is over: left out
        bank,
        _categorical("job marital education default housing loan contact month weekday poutcome")
        | _numeric("age pdays employment_change prices confidence euribor employed")
        | _numeric("campaign previous", "log1p"),
        {"deposit": {"column": "y", "equals": "1"}},
    ),
    "mail-30k": _public(
        mail,
        _categorical(MAIL) | _numeric("recency") | _numeric("history", "log1p"),
        {
            "visit": {"column": "visit", "equals": "1"},
            "conversion": {"column": "conversion", "equals": "1"},
        },
        "visit",
    ),
    "movielens-70k": _public(
        movielens,
        _categorical("user_id movie_id", 10_000)
        | _categorical("gender occupation year")
        | {"genres": {"kind": "categorical", "buckets": 200, "max_length": 6, "separator": "|"}}
        | {"hour": {"kind": "time", "column": "time", "part": "hour"}}
        | _numeric("age"),
        {
            "liked": {"column": "rating", "equals": ["4", "5"]},
            "loved": {"column": "rating", "equals": "5"},
        },
        "liked",
    ),
}
