"""Statistics of the training split that the model's graph needs: moments, ranges, quantile
boundaries and vocabularies.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import Field

from features import files
from features.errors import FunnelError
from features.settings import Settings
from features.spec import Spec


class Outcome(Settings):
    """Training rows with the same labels.

    Args:
        states: By label −1 (unknown), 0 or 1; for a number, 1 means above 0.
        rows: How many rows there are.
        weight: Σ weight over them.
        totals: Σ weight·value by label that is a number.
    """

    states: dict[str, int]
    rows: int
    weight: float
    totals: dict[str, float] = Field({})


class Fitted(Settings):
    """Statistics of the training split, by feature.

    Args:
        moments: (mean, std) of the transformed numbers.
        ranges: (min, max) of the transformed numbers.
        boundaries: Of quantiles.
        vocabularies: Ids as they are written, rising.
        outcomes: The training rows by their labels.
    """

    moments: dict[str, tuple[float, float]] = Field({})
    ranges: dict[str, tuple[float, float]] = Field({})
    boundaries: dict[str, list[float]] = Field({})
    vocabularies: dict[str, list[int]] = Field({})
    outcomes: list[Outcome] = Field([])

    def table_rows(self, spec: Spec, name: str) -> int:
        """Rows of the feature's embedding table: `buckets`, or vocabulary size + 2 (0 = missing,
        1 = out of vocabulary), or number of boundaries + 2.
        """
        if name in spec.bucketized:
            return len(self.boundaries_of(spec, name)) + 2
        owner = spec.owner(name)
        rows = spec.embedded[owner].rows
        return len(self.vocabularies[owner]) + 2 if rows is None else rows

    def boundaries_of(self, spec: Spec, name: str) -> list[float]:
        """A bucketized feature's boundaries: those declared, or the training split's."""
        declared = spec.bucketized[name].boundaries
        return self.boundaries[name] if declared is None else declared

    def vocabulary_of(self, spec: Spec, name: str) -> np.ndarray | None:
        """The ids as written that have a row of their own, rising; None if ids are rows already."""
        ids = self.vocabularies.get(spec.owner(name))
        return None if ids is None else np.array(ids, np.int64)

    def save(self, path: Path) -> None:
        """Writes fitted.json."""
        files.write_text(path, json.dumps(self.model_dump(mode="json")) + "\n")

    @classmethod
    def load(cls, path: Path) -> Fitted:
        """Reads fitted.json.

        Raises:
            FunnelError: It is absent, or is not one.
        """
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise FunnelError(
                f"{path}: cannot be read ({error}); run `funnel preprocess` first"
            ) from None
        return cls.parse(content, str(path))
