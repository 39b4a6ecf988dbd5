"""The base of sharings: a layer from Inputs to one representation for each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model.embeddings.inputs import History, Inputs
from model.settings.base import SharingParams


class Sharing(keras.Layer):
    """The base of sharings, layers from Inputs to {head: [B, H]}.

    A subclass declares its options in `Params` and implements `share`. The other properties
    describe its networks for weightings and reports. In a Keras model of its own it also takes a
    tensor [B, W] instead of Inputs, and its options as a dict.

    Args:
        params: the options.
        heads: what the representations are called.

    Raises:
        FunnelError: an option is unknown or out of range.
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
        """The representations of the heads.

        Returns:
            ({head: [B, H]}, {"level_<l>/<head>": its gate's distribution over experts [B, n]}).
        """
        raise TypeError(f"{type(self).__name__} must implement share(inputs)")

    def call(
        self, inputs: Inputs | tf.Tensor, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        return self.share(as_inputs(inputs))[0]

    def gate_weights(self, inputs: Inputs | tf.Tensor) -> dict[str, tf.Tensor]:
        """Each gate's distribution over experts [B, n], by "level_<l>/<head>"; {} without gates."""
        return self.observe(inputs)[1]

    def observe(
        self, inputs: Inputs | tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """What `share` returns. Outside a call, where Keras does not cast the inputs to the type
        that the layer computes in, it casts them.
        """

        def cast(value: tf.Tensor) -> tf.Tensor:
            tensor = tf.convert_to_tensor(value)
            return tf.cast(tensor, self.compute_dtype) if tensor.dtype.is_floating else tensor

        return self.share(tf.nest.map_structure(cast, as_inputs(inputs)))

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        """The experts that each gate of `gate_weights` mixes, by name and in its order. An expert
        that two gates mix has one name.
        """
        return {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        """The names of the networks that a block computes side by side, by the block's path below
        the sharing. Networks of other blocks are called expert_0, expert_1 …
        """
        return {}

    @property
    def last_shared(self) -> list[keras.Variable]:
        """The kernels and biases of the last layer that all heads share, whose gradients GradNorm
        compares; [] where nothing is shared.
        """
        return []

    @property
    def shared_in_last(self) -> list[bool] | None:
        """Which of the networks inside `last_shared` are shared by all heads, in their order;
        None: all.
        """
        return None

    def get_build_config(self) -> None:
        """None: its parts are built by the first call."""

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "params": self.params.model_dump(mode="json"),
            "heads": self.heads,
        }


def as_inputs(inputs: Inputs | tf.Tensor) -> Inputs:
    """Inputs from a tensor [B, W], which has neither fields nor sequences, or from the plain tuples
    that a reloaded Keras model passes.
    """
    if isinstance(inputs, tuple | list):
        flat, fields, sequences = inputs
        return Inputs(
            flat, dict(fields), {name: History(*history) for name, history in sequences.items()}
        )
    return Inputs(inputs, {}, {})


def shared_part(shape: Sequence[int], shared: Sequence[bool] | None) -> np.ndarray:
    """A mask of the shared networks in a joint kernel or bias of n networks, to multiply [n, I, U],
    [n, 1, U], [I, n·U] or [n·U] with.
    """
    if shared is None:
        return np.ones([1] * len(shape), np.float32)
    ones = np.array(shared, np.float32)
    return (
        ones[:, np.newaxis, np.newaxis]
        if len(shape) == 3
        else np.repeat(ones, shape[-1] // len(ones))
    )
