"""A bottom for each task; tasks also read the bottoms of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Experts
from model.settings.sharing import AsymmetricParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class Asymmetric(Sharing):
    """h_k = [f_k(x), f_j(x) for j in reads(k)]: task k's own bottom beside those of the tasks that
    it reads, concatenated.

    The asymmetric sharing of Tang et al., Progressive Layered Extraction, RecSys 2020, fig. 1 and
    sec. 3: knowledge flows one way. Without `reads` a task reads the bottoms of all tasks before
    it, as the later steps of a funnel may. With `reads`, a task that it does not name reads only
    its own bottom. All bottoms read the same input and are computed together.
    """

    Params = AsymmetricParams
    params: AsymmetricParams

    def __init__(
        self, params: AsymmetricParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        self.bottoms = Experts(len(heads), self.params.units, **self.params.network, name="bottoms")
        self.reads = self.params.reads_of(self.heads)

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        own = dict(
            zip(self.heads, tf.unstack(self.bottoms(inputs.flat), axis=1), strict=True)
        )  # [B, H] each
        return {
            head: tf.concat([own[name] for name in (head, *donors)], 1)
            for head, donors in self.reads.items()
        }, {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        return {"bottoms": self.heads}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.bottoms.last if any(self.shared_in_last) else []

    @property
    def shared_in_last(self) -> list[bool]:
        return [readers == set(self.heads) for readers in self.params.head_groups(self.heads)]
