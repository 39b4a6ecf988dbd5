"""A bottom for each task; tasks also read the bottoms of others."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from pydantic import Field

from features.errors import FunnelError, nearest
from model.embeddings.inputs import Inputs
from model.layers import Experts
from model.layers.params import Units
from model.sharing.base import Sharing, SharingParams


@keras.saving.register_keras_serializable("funnel")
class Asymmetric(Sharing):
    """h_k = [f_k(x), f_j(x) for j in reads(k)]: task k's own bottom beside those of the tasks that
    it reads, concatenated.

    The asymmetric sharing of Tang et al., Progressive Layered Extraction, RecSys 2020, fig. 1 and
    sec. 3: knowledge flows one way. Without `reads` a task reads the bottoms of all tasks before
    it, as the later steps of a funnel may. With `reads`, a task that it does not name reads only
    its own bottom. All bottoms read the same input and are computed together.
    """

    class Params(SharingParams):
        units: Units = Field([256, 128])
        reads: dict[str, list[str]] | None = None

        def reads_of(self, heads: list[str]) -> dict[str, list[str]]:
            """{head: the other heads whose bottoms it reads}."""
            if self.reads is None:
                return {head: heads[:index] for index, head in enumerate(heads)}
            return {head: self.reads.get(head, []) for head in heads}

        def head_groups(self, heads: list[str]) -> list[set[str]]:
            reads = self.reads_of(heads)
            return [
                {reader for reader in heads if head in (reader, *reads[reader])} for head in heads
            ]

        def check_heads(self, heads: list[str]) -> None:
            for reader, donors in (self.reads or {}).items():
                for name in (reader, *donors):
                    if name not in heads:
                        raise FunnelError(
                            f"model.sharing.reads names '{name}', which is not a head of the "
                            f"funnel: {nearest(name, heads)}"
                        )
                if reader in donors:
                    raise FunnelError(
                        f"model.sharing.reads lets '{reader}' read itself: name the others, its "
                        "own bottom it always reads"
                    )
                if len(set(donors)) < len(donors):
                    raise FunnelError(
                        f"model.sharing.reads lets '{reader}' read {', '.join(donors)}: name each "
                        "head once"
                    )

    params: Params

    def __init__(self, params: Params, heads: list[str], **kwargs: Any) -> None:
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
