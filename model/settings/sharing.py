"""Options of the sharings without experts, and SHARING_PARAMS: those of every sharing, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from features.errors import FunnelError, nearest
from model.settings.base import SharingParams
from model.settings.experts import (
    CGCParams,
    MLMMoEParams,
    MMoEParams,
    MoEParams,
    MoSEParams,
    PLEParams,
)
from model.settings.networks import Units


def refuse_alone(params: SharingParams, option: str, heads: list[str]) -> None:
    """Raises FunnelError where an option of several heads is given and there is one."""
    if len(heads) == 1 and params.changed(option):
        raise FunnelError(
            f"model.sharing.{option} = {getattr(params, option)!r} is for several heads, and the "
            f"funnel has only '{heads[0]}': leave it out, or declare another task"
        )


class SingleTaskParams(SharingParams):
    """Options of model.sharing.single_task."""

    units: Units = Field([256, 128])
    share_embeddings: bool = False

    @property
    def shares_embeddings(self) -> bool:
        return self.share_embeddings

    def head_groups(self, heads: list[str]) -> list[set[str]]:
        return [{head} for head in heads]

    def check_heads(self, heads: list[str]) -> None:
        refuse_alone(self, "share_embeddings", heads)


class SharedBottomParams(SharingParams):
    """Options of model.sharing.shared_bottom."""

    units: Units = Field([256, 128])


class AsymmetricParams(SharingParams):
    """Options of model.sharing.asymmetric."""

    units: Units = Field([256, 128])
    reads: dict[str, list[str]] | None = None

    def reads_of(self, heads: list[str]) -> dict[str, list[str]]:
        """{head: the other heads whose bottoms it reads}."""
        if self.reads is None:
            return {head: heads[:index] for index, head in enumerate(heads)}
        return {head: self.reads.get(head, []) for head in heads}

    def head_groups(self, heads: list[str]) -> list[set[str]]:
        reads = self.reads_of(heads)
        return [{reader for reader in heads if head in (reader, *reads[reader])} for head in heads]

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


class CustomizedParams(SharingParams):
    """Options of model.sharing.customized."""

    units: Units = Field([256, 128])


class CrossStitchParams(SharingParams):
    """Options of model.sharing.cross_stitch."""

    units: Units = Field([256, 128])
    own_share: float = Field(0.9, ge=0, le=1)
    per_unit: bool = False

    def check_heads(self, heads: list[str]) -> None:
        refuse_alone(self, "own_share", heads)


class SluiceParams(SharingParams):
    """Options of model.sharing.sluice."""

    units: Units = Field([128, 128])
    subspaces: int = Field(2, ge=2)
    own_share: float = Field(0.9, ge=0, le=1)
    orthogonality: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        if len(set(self.units)) > 1:
            raise ValueError(
                f"units = {self.units}: sluice sums the outputs of its layers, so give all the "
                "same width"
            )
        if self.units[0] % self.subspaces:
            raise ValueError(
                f"units = {self.units[0]} does not divide into subspaces = {self.subspaces} of "
                "equal width"
            )
        return self


SHARING_PARAMS: Mapping[str, type[SharingParams]] = {
    "single_task": SingleTaskParams,
    "shared_bottom": SharedBottomParams,
    "asymmetric": AsymmetricParams,
    "customized": CustomizedParams,
    "moe": MoEParams,
    "mmoe": MMoEParams,
    "ml_mmoe": MLMMoEParams,
    "cgc": CGCParams,
    "ple": PLEParams,
    "cross_stitch": CrossStitchParams,
    "sluice": SluiceParams,
    "mose": MoSEParams,
}
