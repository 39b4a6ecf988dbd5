"""The base of funnels: towers, the predictions they make, and the objectives that train them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from features.spec import Spec
from model.layers import MLP
from model.objectives.base_rates import BaseRates
from model.objectives.objective import Objective, cross_entropy
from model.objectives.predictions import (
    Prediction,
    Probability,
    from_logit,
    joint,
    probability,
    quotient,
    unweighted,
)
from model.objectives.sample_spaces import entire_space
from model.settings.base import FunnelParams, ObjectiveTraits


class Funnel(keras.Layer):
    """The base of funnels, {head: [B, H]} → {name: Prediction}, with a tower for each head.

    Heads are the tasks unless the subclass' `Params` declare others. A task with `given` is
    conditional on the tasks before it, and its joint is the product along the chain. A subclass
    declares its options in `Params` and implements `objectives`; it may override `predict`,
    `starts` and `unweighted`. In a Keras model of its own it also takes its options and the spec as
    dicts.

    Args:
        params: the options.
        spec: features, labels and tasks.

    Raises:
        FunnelError: an option is unknown, or the funnel cannot be built over these tasks.
    """

    Params: type[FunnelParams]

    def __init__(
        self,
        params: FunnelParams | Mapping[str, Any],
        spec: Spec | Mapping[str, Any],
        *,
        name: str = "funnel",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)  # the wide part stays in float32
        if not isinstance(params, FunnelParams):
            params = self.Params.parse(dict(params))
        self.params, self.spec = params, spec if isinstance(spec, Spec) else Spec.parse(dict(spec))
        self.params.check(self.spec)
        self.towers = {
            head: MLP(params.units_of(head), **params.network, name=f"tower_{head}")
            for head in self.heads
        }
        self.outputs = {head: _output(head) for head in self.heads}

    def build(self, representations_shape: object, wide_shape: object = None) -> None:
        """Nothing: the parts are built by their first calls."""

    def get_build_config(self) -> None:
        """None, as of sharings."""

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "params": self.params.model_dump(mode="json"),
            "spec": self.spec.model_dump(mode="json", exclude_none=True),
        }

    @property
    def heads(self) -> list[str]:
        return self.params.heads_of(self.spec)

    def call(
        self,
        representations: dict[str, tf.Tensor],
        wide: dict[str, tf.Tensor] | None = None,
        training: bool | None = None,
    ) -> Mapping[str, Prediction]:
        """`wide` {head: [B]} is added to the heads' logits."""
        return self.predict(
            {head: self.towers[head](representations[head]) for head in self.heads}, wide or {}
        )

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        """The predictions of tasks and joints, by name.

        Args:
            towers: {head: its tower's output [B, T]}.
            wide: {head: [B]}, added to its logit; {} without a wide part.
        """
        tasks = {head: from_logit(self.logit(head, towers, wide)) for head in self.heads}
        return tasks | self.joints(tasks)

    def logit(
        self, head: str, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> tf.Tensor:
        """The logit, or number, [B] of a head: its output layer plus the wide part."""
        z = self.outputs[head](towers[head])[:, 0]
        return z + wide[head] if wide else z

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """{head: the constant logit, or number, that minimizes its objective}."""
        return {head: rates.logit(head) for head in self.heads}

    def start_at(self, rates: BaseRates) -> None:
        """Sets the output biases so that training starts at the rates of the training split."""
        for head, start in self.starts(rates).items() if rates.outcomes else ():
            self.outputs[head].bias.assign([start])

    def joints(self, tasks: Mapping[str, Probability]) -> dict[str, Probability]:
        """The product along its chain of each task that has a joint."""
        return {
            declared.joint: self._product(task, tasks)
            for task, declared in self.spec.tasks.items()
            if declared.joint and task in tasks
        }

    def _product(self, task: str, tasks: Mapping[str, Probability]) -> Probability:
        parent = self.spec.parent(task)
        return tasks[task] if parent is None else joint(self._product(parent, tasks), tasks[task])

    def unweighted(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """The predictions as they are served: with each task's `positive_weight` undone.

        Here the weight is in the cross-entropy of the task's own output; the joints are the
        products of the results.
        """
        weights = {task: declared.positive_weight for task, declared in self.spec.tasks.items()}
        found = {
            n: unweighted(p, weights[n]) if n in weights and isinstance(p, Probability) else p
            for n, p in predictions.items()
        }
        tasks = {n: p for n, p in found.items() if n in weights and isinstance(p, Probability)}
        return found | self.joints(tasks)

    def unweighted_joints(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """`unweighted` where the weight is in the cross-entropy of a task's joint: the task is its
        joint divided by the joint before it.
        """
        if all(declared.positive_weight == 1 for declared in self.spec.tasks.values()):
            return dict(predictions)
        chains = {
            t: unweighted(probability(predictions[d.joint or t]), d.positive_weight)
            for t, d in self.spec.tasks.items()
        }
        tasks = {}
        for task, p in chains.items():
            parent = self.spec.parent(task)
            tasks[task] = p if parent is None else quotient(p, chains[parent])
        joints = {d.joint: chains[t] for t, d in self.spec.tasks.items() if d.joint}
        return {**predictions, **tasks, **joints}

    def joint_objective(
        self, task: str, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> Objective:
        """The cross-entropy of a task's joint over all rows; of a task without one, its own."""
        declared = self.spec.tasks[task]
        name = declared.joint or task
        return cross_entropy(
            name,
            probability(predictions[name]),
            *entire_space(self.spec, task, labels),
            declared.positive_weight,
        )

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        """The objectives that are minimized, from predictions and labels [B] by name."""
        raise TypeError(f"{type(self).__name__} must implement objectives(predictions, labels)")

    @classmethod
    def probe_objectives(cls, params: Any, spec: Spec) -> list[ObjectiveTraits]:
        """The objectives as a graph that is never run has them: running anything would fix
        TensorFlow's devices.
        """
        with tf.Graph().as_default():
            labels = {
                name: tf.zeros([1], tf.float32 if label.is_number else tf.int64)
                for name, label in spec.labels.items()
            }
            funnel = cls(params, spec)
            heads = {head: tf.zeros([1, 1]) for head in funnel.heads}
            found = funnel.objectives(funnel(heads), labels)
            gradients = [
                tf.gradients(objective.sums()[0], list(heads.values())) for objective in found
            ]
        reached = [
            {head for head, g in zip(heads, own, strict=True) if g is not None} for own in gradients
        ]
        return [
            ObjectiveTraits(o.name, heads, o.penalty, o.nonnegative_with)
            for o, heads in zip(found, reached, strict=True)
        ]


def _output(head: str) -> keras.layers.Dense:
    """A head's output layer. Its kernel starts at a tenth of Glorot's range, so that the first loss
    is close to that of the bias.
    """
    small = keras.initializers.VarianceScaling(0.01, mode="fan_avg", distribution="uniform")
    return keras.layers.Dense(1, dtype="float32", kernel_initializer=small, name=f"logit_{head}")
