"""What every sharing is: a layer from Inputs to one representation per head."""

from __future__ import annotations

from typing import Annotated

import keras
import tensorflow as tf
from pydantic import Field

from features.settings import Settings
from model.embedding import Inputs

Units = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class SharingParams(Settings):
    """Options that every sharing has: whether its heads read the same embeddings."""

    name: str

    @property
    def shares_embeddings(self) -> bool:
        return True


class Sharing(keras.Layer):
    """A layer over `heads`: Inputs → {head: [B, H]}. Subclasses say with `Params` what they can be told."""

    Params: type[SharingParams]

    def __init__(self, params: SharingParams, heads: list[str], *, name: str) -> None:
        super().__init__(name=name)
        self.params, self.heads = params, list(heads)

    def call(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        raise TypeError(f"{type(self).__name__} must say how its heads share: give it a call(inputs)")
