"""Constant weights."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import FixedParams
from model.weighting.base import Weighting, by_name


class Fixed(Weighting):
    """w_k as configured, 1 by default."""

    Params = FixedParams
    params: FixedParams

    def current(self) -> tf.Tensor:
        return by_name(self.params.weights, self.objectives)
