"""Hash collisions in an embedding table: the expected share, and frequent values that collide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from features import hashing
from features.spec import Spec
from pipeline.statistics.sketches import TOP_OF_ALL, Profile, top_json

FREQUENT = 0.001  # a value of at least so many occurrences for each valid row is examined
SERIOUS = 0.01  # two values of at least so many in one bucket are a warning
LISTED = 10  # groups, and values of a group, in statistics.json
NAMED = 3  # values of a group in a warning
TRIED = 100  # bucket counts tried above 1, 2, 4 … 128 times the declared one


def collisions(profile: Profile, rows: int, buckets: int) -> dict[str, Any]:
    """Describes the collisions in a table, for statistics.json.

    `frequent` lists the groups of frequent values that share a bucket, the one whose second value
    is most frequent first. A share is occurrences / rows. Where a group is SERIOUS,
    `separating_buckets` is a number of buckets, near the declared one, without such a group; None
    where none was found.

    Args:
        profile: of all features that use the table.
        rows: the number of valid rows.
        buckets: of the table.
    """
    shares = {
        text: count / rows
        for text, count in top_json(profile, TOP_OF_ALL)
        if count >= FREQUENT * rows
    }
    hashes = hashing.fingerprint64(pa.array(list(shares), pa.string()))
    groups: dict[int, list[tuple[str, float]]] = {}
    for one, bucket in zip(shares.items(), _buckets(hashes, buckets).tolist(), strict=True):
        groups.setdefault(bucket, []).append(one)
    shared = sorted((g for g in groups.values() if len(g) > 1), key=lambda g: (-g[1][1], g[1][0]))
    content: dict[str, Any] = expected(profile.distinct, buckets)
    content["frequent"] = [
        {"share": sum(s for _, s in g), "values": [list(v) for v in g[:LISTED]]}
        for g in shared[:LISTED]
    ]
    if any(_is_serious(group) for group in content["frequent"]):
        serious = hashes[[share >= SERIOUS for share in shares.values()]]
        content["separating_buckets"] = next(
            (n for n in _near(buckets) if _separates(serious, n)), None
        )
    return content


def expected(distinct: int, buckets: int) -> dict[str, float | int]:
    """The expected share of `distinct` values that share their bucket, and the smallest number of
    buckets that keeps it under 1 %.
    """
    others = max(distinct - 1, 0)
    enough = int(1 / -np.expm1(np.log(0.99) / others)) if others else 2
    while _expected_share(distinct, enough) >= 0.01:
        enough += 1
    return {
        "buckets": buckets,
        "expected_share": _expected_share(distinct, buckets),
        "buckets_for_1_percent": enough,
    }


def warnings(spec: Spec, described: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yields a warning for each feature with a serious group.

    Args:
        spec: the features.
        described: `features` of statistics.json.
    """
    for name, one in described.items():
        found = one.get("valid", {}).get("collisions", {})
        serious = [group for group in found.get("frequent", ()) if _is_serious(group)]
        if serious:
            readers = [n for n in spec.id_features if spec.owner(n) == name]
            many = spec.embedded[name].is_list or len(readers) > 1
            values = [
                f"'{text}' ({_often(share, many)})"
                for text, share in serious[0]["values"][:NAMED]
                if share >= SERIOUS
            ]
            others = f" (one of {len(serious)} such groups)" if len(serious) > 1 else ""
            remedy = _remedy(spec.features[name].can_have_vocabulary, found["separating_buckets"])
            yield (
                f"features.{name}.buckets = {found['buckets']}: the frequent values "
                f"{' and '.join(values)} share a bucket{others}, so the model cannot tell them "
                f"apart; {remedy}"
            )


def _remedy(can_have_vocabulary: bool, separating: int | None) -> str:
    more = (
        f"buckets = {separating}, which separates the frequent values"
        if separating
        else "many more buckets"
    )
    if not can_have_vocabulary:
        return f"give {more}"
    return (
        "give min_count = 1 instead of buckets (a vocabulary) if the column has few values, "
        f"or {more}"
    )


def _often(share: float, many: object) -> str:
    return f"{share:.2f} times a row" if many else f"{100 * share:.1f} % of rows"


def _is_serious(group: dict[str, Any]) -> bool:
    second: float = group["values"][1][1]
    return second >= SERIOUS


def _buckets(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """The row of the table, minus 1, that features.hashing assigns."""
    return hashes % np.uint64(buckets - 1)


def _separates(hashes: np.ndarray, buckets: int) -> bool:
    return len(np.unique(_buckets(hashes, buckets))) == len(hashes)


def _near(buckets: int) -> Iterator[int]:
    """Yields TRIED numbers above `buckets`, then above twice as many, and so on: close to a full
    table no number separates.
    """
    for doubled in range(8):
        yield from (
            n
            for n in range(buckets * 2**doubled + 1, buckets * 2**doubled + TRIED + 1)
            if n < 2**31
        )


def _expected_share(distinct: int, buckets: int) -> float:
    """1 − (1 − 1/(buckets − 1))^(distinct − 1): row 0 is for the missing value."""
    others = max(distinct - 1, 0)
    if buckets <= 2:
        return float(others > 0)
    return float(-np.expm1(others * np.log1p(-1 / (buckets - 1))))
