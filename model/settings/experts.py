"""Options of the sharings with experts."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from features.errors import FunnelError
from features.spec import Spec
from model.settings.base import SharingParams
from model.settings.networks import HiddenUnits, Units


class ExpertParams(SharingParams):
    """Options of a sharing with experts: which network an expert is.

    - `expert` = "mlp": an MLP of `expert_units`.
    - "cross": a cross network of `cross_layers` below the MLP (DCN-V2).
    - "fm": a factorization machine beside the MLP (DeepFM).
    - "lstm": an LSTM of `lstm_units` below the MLP, over the `sequences` (default: all sequence
      features), concatenated step by step.

    Experts above the first level read vectors, not embeddings: there "fm" and "lstm" are MLPs.
    """

    expert: Literal["mlp", "cross", "fm", "lstm"] = "mlp"
    expert_units: Units = Field([256, 128])
    cross_layers: int = Field(2, ge=1)
    lstm_units: int = Field(32, ge=1)
    sequences: list[str] = Field([])

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        owners = {"cross_layers": "cross", "lstm_units": "lstm", "sequences": "lstm"}
        for key in self.changed(*owners):
            if self.expert != owners[key]:
                raise ValueError(
                    f"{key} is for expert = '{owners[key]}', and expert = '{self.expert}': give "
                    "that kind, or leave it out"
                )
        return self

    def check(self, spec: Spec) -> None:
        if self.expert == "lstm":
            check_sequences(spec, self.sequences, "expert = 'lstm'")
        dims = [f.dim for f in spec.embedded.values()] + [
            spec.embedded[f.combines[0]].dim for f in spec.combined.values()
        ]
        if self.expert == "fm" and len(set(dims)) == len(dims):
            raise FunnelError(
                "model.sharing.expert = 'fm' multiplies embeddings in pairs, "
                "but no two features have the same dim"
            )


class MoEParams(ExpertParams):
    """Options of model.sharing.moe."""

    experts: int = Field(4, ge=2)
    gate_units: HiddenUnits = Field([])


class MMoEParams(ExpertParams):
    """Options of model.sharing.mmoe."""

    experts: int = Field(4, ge=2)
    gate_units: HiddenUnits = Field([])


class MLMMoEParams(MMoEParams):
    """Options of model.sharing.ml_mmoe."""

    levels: int = Field(2, ge=1)


class CGCParams(ExpertParams):
    """Options of a sharing with shared experts and experts of each task; see model.sharing.cgc."""

    shared_experts: int = Field(2, ge=1)
    task_experts: int = Field(2, ge=1)
    gate_units: HiddenUnits = Field([])


class PLEParams(CGCParams):
    """Options of model.sharing.ple."""

    levels: int = Field(2, ge=1)


class MoSEParams(SharingParams):
    """Options of model.sharing.mose."""

    used_elsewhere: ClassVar[frozenset[str]] = frozenset({"l2"})  # by the LSTMs

    experts: int = Field(4, ge=2)
    lstm_units: int = Field(32, ge=1)
    sequences: list[str] = Field([])
    gate_units: HiddenUnits = Field([])

    def check(self, spec: Spec) -> None:
        check_sequences(spec, self.sequences, "mose")


def check_sequences(spec: Spec, names: list[str], reader: str) -> None:
    """Raises FunnelError unless `names` (default: all) are sequence features of one length, and at
    least one.
    """
    known = {n: e.slots for n, e in spec.embedded.items() if e.in_order}
    if not known:
        raise FunnelError(
            f"model.sharing: {reader} reads a sequence, but no feature has kind = 'sequence': "
            "declare one"
        )
    for name in names:
        if name not in known:
            raise FunnelError(
                f"model.sharing.sequences names '{name}', which is not a sequence feature "
                f"(known: {', '.join(known)})"
            )
    lengths = {name: known[name] for name in names or known}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FunnelError(
            f"model.sharing: {reader} reads sequences side by side, but max_length differs "
            f"({shown}): name some in `sequences`"
        )
