"""Profiles of the features with ids: from batches, and for statistics.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.hashing import Hashed
from features.spec import Spec
from pipeline.statistics import sketches
from pipeline.statistics.collisions import collisions
from pipeline.statistics.sketches import Profile


def profile_features(
    spec: Spec, hashed: Mapping[str, Hashed], ids: np.ndarray
) -> dict[str, Profile]:
    """Profiles the features with ids of a batch, from what encoding it gave: the distinct values of
    hashed features, and ids [n, S].
    """
    profiles = {}
    for name, slots in spec.id_slots.items():
        own = ids[:, slots.slice]
        profiles[name] = (
            sketches.profile_texts(hashed[name], own)
            if name in hashed
            else sketches.profile_integers(own)
        )
    return profiles


def profiles_json(spec: Spec, profiles: Mapping[str, Profile]) -> dict[str, dict[str, Any]]:
    """Describes each profiled feature for statistics.json: missing, distinct, top values, and the
    collisions of hashed features.

    Features that share a table share its buckets: their collisions are counted together, and shown
    with the table's owner.
    """
    return {
        name: _profile_json(spec, name, profiles) for name in spec.id_features if name in profiles
    }


def _profile_json(spec: Spec, name: str, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    own, feature = profiles[name], spec.features[name]
    content: dict[str, Any] = {
        "rows": own.rows,
        "missing": own.missing,
        "distinct": own.distinct,
        "distinct_is_exact": len(own.smallest) < sketches.KEPT,
        "top": [[feature.readable(text), count] for text, count in sketches.top_json(own)],
    }
    if feature.hashed_buckets and spec.owner(name) == name:
        together = sketches.fold_profiles(p for n, p in profiles.items() if spec.owner(n) == name)
        content["collisions"] = collisions(together, own.rows, feature.hashed_buckets)
        for group in content["collisions"]["frequent"]:
            group["values"] = [[feature.readable(text), share] for text, share in group["values"]]
    return content
