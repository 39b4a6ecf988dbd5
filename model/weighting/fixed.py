"""Constant weights."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.weighting.base import NonNegative, Weighting, WeightingParams, by_name, check_names


class Fixed(Weighting):
    """w_k as configured, 1 by default."""

    class Params(WeightingParams):
        weights: dict[str, NonNegative] = Field({})

        def check(self, objectives: list[str]) -> None:
            check_names(self.weights, objectives, "weights")

    params: Params

    def current(self) -> tf.Tensor:
        return by_name(self.params.weights, self.objectives)
