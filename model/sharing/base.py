"""What every sharing is: a layer from Inputs to one representation per head."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from features.errors import FunnelError
from features.settings import Settings
from features.spec import Spec
from model.embedding import History, Inputs
from model.layers import CrossExperts, Experts, FMExperts, LSTMExperts

Units = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
HiddenUnits = list[Annotated[int, Field(ge=1)]]  # may be none
EXPERTS = {"mlp": Experts, "cross": CrossExperts, "fm": FMExperts, "lstm": LSTMExperts}


class NetworkParams(Settings):
    """Options of every network of dense layers; model.layers.Network says what they do."""

    name: str = ""
    activation: Literal[
        "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"
    ] = "relu"
    normalize: Literal["none", "batch", "layer"] = "none"
    dropout: float = Field(0.0, ge=0, lt=1)
    l2: float = Field(0.0, ge=0)
    residual: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_batch_norm(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "batch_norm" in data:
            old = json.dumps(data["batch_norm"], default=str)
            new = "batch" if data["batch_norm"] else "none"
            remedy = f"write normalize = '{new}' instead"
            raise ValueError(f"batch_norm = {old}: the option is now normalize; {remedy}")
        return data

    @model_validator(mode="after")
    def _check_residual(self) -> Self:
        given = {
            name: getattr(self, name) for name in type(self).model_fields if name.endswith("units")
        }
        widths = {
            name: list(value.values()) if isinstance(value, dict) else [value]
            for name, value in given.items()
        }
        networks = [
            units for several in widths.values() for units in several if isinstance(units, list)
        ]
        if self.residual and not any(
            one == next_ for units in networks for one, next_ in itertools.pairwise(units)
        ):
            shown = ", ".join(
                f"{name} = {value}" for name, value in given.items() if not isinstance(value, int)
            )
            raise ValueError(
                f"residual = true joins layers of one width, but no two in a row have it in {shown}; give some, or leave it"
            )
        return self

    @property
    def network(self) -> dict[str, Any]:
        """The options as the blocks of model.layers take them."""
        return {name: getattr(self, name) for name in NetworkParams.model_fields if name != "name"}


class SharingParams(NetworkParams):
    """Options that every sharing has."""

    @property
    def shares_embeddings(self) -> bool:
        """Whether all heads read the same embeddings."""
        return True

    def parts(self, heads: list[str]) -> list[set[str]]:
        """The heads that read one and the same network of dense weights, for each such network."""
        return [set(heads)]

    def check(self, spec: Spec) -> None:
        """Raises FunnelError for what cannot be built over these features."""

    def check_heads(self, heads: list[str]) -> None:
        """Raises FunnelError for what cannot be built for these heads."""


class ExpertParams(SharingParams):
    """Options of a sharing with experts: which network an expert is.

    `expert` = "mlp"; "cross", with `cross_layers`, before the MLP (DCN-V2); "fm", beside it
    (DeepFM); "lstm" of `lstm_units` over the `sequences`, step by step side by side (default: all
    sequence features), before it. Experts above the first level read vectors, not embeddings: there
    "fm" and "lstm" are MLPs.
    """

    expert: Literal["mlp", "cross", "fm", "lstm"] = "mlp"
    expert_units: Units = Field([256, 128])
    cross_layers: int = Field(2, ge=1)
    lstm_units: int = Field(32, ge=1)
    sequences: list[str] = Field([])

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        owners = {"cross_layers": "cross", "lstm_units": "lstm", "sequences": "lstm"}
        unused = [
            key
            for key, owner in owners.items()
            if key in self.model_fields_set and self.expert != owner
        ]
        if unused and getattr(self, unused[0]) != type(self).model_fields[unused[0]].default:
            raise ValueError(
                f"{unused[0]} is for expert = '{owners[unused[0]]}', and expert = '{self.expert}'"
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
                "model.sharing.expert = 'fm' multiplies embeddings in pairs, but no two features have the same dim"
            )


def check_sequences(spec: Spec, names: list[str], reader: str) -> None:
    """Raises FunnelError unless `names` (default: all) are sequence features of one length, and at
    least one.
    """
    known = {n: e.slots for n, e in spec.embedded.items() if e.in_order}
    if not known:
        raise FunnelError(
            f"model.sharing: {reader} reads a sequence, but no feature has kind = 'sequence': declare one"
        )
    for name in names:
        if name not in known:
            raise FunnelError(
                f"model.sharing.sequences names '{name}', which is no sequence feature (known: {', '.join(known)})"
            )
    lengths = {name: known[name] for name in names or known}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FunnelError(
            f"model.sharing: {reader} reads sequences side by side, but max_length differs ({shown}): name some in `sequences`"
        )


def make_experts(params: ExpertParams, count: int, *, name: str, level: int = 0) -> keras.Layer:
    """`count` experts as `params` say; above the first level those that read embeddings are MLPs."""
    kind = params.expert if level == 0 or params.expert == "cross" else "mlp"
    own = {
        "cross": {"cross_layers": params.cross_layers},
        "lstm": {"lstm_units": params.lstm_units},
    }.get(kind, {})
    return EXPERTS[kind](count, params.expert_units, **own, **params.network, name=name)


def run_experts(experts: keras.Layer, inputs: Inputs, sequences: list[str]) -> tf.Tensor:
    """Experts over what their kind reads of the inputs: [B, n, H]."""
    if isinstance(experts, FMExperts):
        return experts(inputs.flat, inputs.fields_by_dim())
    if isinstance(experts, LSTMExperts):
        return experts(inputs.flat, *inputs.side_by_side(sequences))
    return experts(inputs.flat)


class Sharing(keras.Layer):
    """A layer over `heads`: Inputs → {head: [B, H]}. Subclasses say with `Params` what they can be
    told.

    Alone in a Keras model it takes a tensor [B, W] in the place of Inputs, and its options as a
    dict.
    """

    Params: type[SharingParams]

    def __init__(
        self, params: SharingParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.params = (
            params if isinstance(params, SharingParams) else self.Params.parse(dict(params))
        )
        self.heads = list(heads)

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """({head: its representation [B, H]}, {"level_<l>/<head>": its gate's distribution over
        experts [B, n]}).
        """
        raise TypeError(
            f"{type(self).__name__} must say how its heads share: give it a share(inputs)"
        )

    def call(
        self, inputs: Inputs | tf.Tensor, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        return self.share(as_inputs(inputs))[0]

    def gate_weights(self, inputs: Inputs | tf.Tensor) -> dict[str, tf.Tensor]:
        """The distributions over experts [B, n] by gate, "level_<l>/<head>"; none where there are
        no gates.
        """
        return self.share(as_inputs(inputs))[1]

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        """The names of the experts that each gate of `gate_weights` mixes, in its order. An expert
        that two gates mix has one name.
        """
        return {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        """The names of the networks that a block computes side by side, by its path below the
        sharing; expert_0, expert_1 … where a block is not named here.
        """
        return {}

    @property
    def last_shared(self) -> list[keras.Variable]:
        """The weights of the last layer that all heads share, those that GradNorm compares
        gradients of; [] where nothing is shared.
        """
        return []

    @property
    def shared_in_last(self) -> list[bool] | None:
        """Which of the networks whose joint weights `last_shared` holds all heads share, in their
        order; None: all.
        """
        return None

    def get_build_config(self) -> None:
        """Nothing: its parts are built where it is called."""

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "params": self.params.model_dump(mode="json"),
            "heads": self.heads,
        }


def as_inputs(inputs: Inputs | tf.Tensor) -> Inputs:
    """A plain tensor [B, W] has neither fields nor sequences. A reloaded Keras model gives plain
    tuples in the place of named ones.
    """
    if isinstance(inputs, tuple | list):
        flat, fields, sequences = inputs
        return Inputs(
            flat, dict(fields), {name: History(*history) for name, history in sequences.items()}
        )
    return Inputs(inputs, {}, {})


def shared_part(shape: Sequence[int], shared: Sequence[bool] | None) -> np.ndarray:
    """1 in what a joint weight of n networks holds of the shared ones, else 0, to multiply [n, I,
    U], [n, 1, U], [I, n·U] or [n·U] with.
    """
    if shared is None:
        return np.ones([1] * len(shape), np.float32)
    ones = np.array(shared, np.float32)
    return (
        ones[:, np.newaxis, np.newaxis]
        if len(shape) == 3
        else np.repeat(ones, shape[-1] // len(ones))
    )
