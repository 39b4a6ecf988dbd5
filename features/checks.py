"""Whether the declarations of a spec fit together. Each check raises ValueError that names the key,
the rule and the remedy. What concerns one kind of feature is checked in its class.
"""

from __future__ import annotations

from collections.abc import Mapping

from features.errors import nearest
from features.kinds.base import Constant, FeatureKind
from features.labels import ColumnLabel, EventLabel, Label, Task, parent_task

RESERVED = ("ids", "dense", "id", "weight")  # keys of the tf.Example
NUMBER_LOSSES, PROBABILITY_LOSSES = ("mse", "huber"), ("cross_entropy",)
PROBABILITY_KEYS = (  # of tasks on a label of 0 and 1
    "joint",
    "label_is_joint",
    "threshold",
    "positive_weight",
    "calibrate",
)


def check_features(features: Mapping[str, FeatureKind]) -> None:
    """Names, what each kind requires, and the columns that the serving graph feeds."""
    weights = [f"{name}_weights" for name, feature in features.items() if feature.weighted]
    for name, feature in features.items():
        if name in (*RESERVED, *weights):
            raise ValueError(
                f"features.{name}: '{name}' is a reserved tf.Example key: rename the feature "
                f"(reserved: {', '.join((*RESERVED, *weights))})"
            )
        feature.check(name, features)
        _check_pooling(name, feature, features)
    fed: dict[str, Constant] = {}
    for name, feature in features.items():
        for column, value in feature.constants.items():
            if fed.setdefault(column, value) != value:
                raise ValueError(
                    f"features.{name}.serve = {value!r}: another feature feeds {fed[column]!r} to "
                    f"'{column}'"
                )


def _check_pooling(name: str, feature: FeatureKind, features: Mapping[str, FeatureKind]) -> None:
    embedding = feature.embedding
    if embedding is None or embedding.pooling == "mean" or feature.weighted:
        return
    if feature.has_several(features):
        return
    raise ValueError(
        f"features.{name}.pooling = '{embedding.pooling}' combines the embeddings of several "
        "values, and this feature has one: leave it out, or give max_length where the column holds "
        "lists"
    )


def check_labels(labels: Mapping[str, Label], features: Mapping[str, FeatureKind]) -> None:
    """Names, columns that may not be features as well, and the order of events."""
    for name, label in labels.items():
        _check_label(labels, features, name, label)


def check_tasks(tasks: Mapping[str, Task], labels: Mapping[str, Label]) -> None:
    """Labels, options, sample spaces, and the names of outputs."""
    for name, task in tasks.items():
        _check_task(tasks, labels, name, task)
    outputs = [*tasks, *(t.joint for t in tasks.values() if t.joint)]
    twice = {o for o in outputs if outputs.count(o) > 1}
    if twice:
        raise ValueError(
            f"tasks and joints share the name '{min(twice)}': give one of them another name"
        )


def _check_label(
    labels: Mapping[str, Label], features: Mapping[str, FeatureKind], name: str, label: Label
) -> None:
    if name in RESERVED:
        raise ValueError(
            f"labels.{name}: '{name}' is a reserved tf.Example key: rename the label "
            f"(reserved: {', '.join(RESERVED)})"
        )
    if name in features:
        raise ValueError(f"labels.{name}: a feature has that name too: give one of them another")
    if isinstance(label, EventLabel):
        _check_after(labels, name, label)
        return
    read = label.column if isinstance(label, ColumnLabel) else label.value
    for feature_name, feature in features.items():
        if read in dict(feature.raw_columns(features)):
            raise ValueError(
                f"labels.{name} and features.{feature_name} both read the column '{read}': "
                "a label may not be a feature; remove the feature"
            )


def _check_after(labels: Mapping[str, Label], name: str, label: EventLabel) -> None:
    if label.after is None:
        return
    earlier = list(labels)[: list(labels).index(name)]
    known = {n: one for n in earlier if isinstance(one := labels[n], EventLabel)}
    if label.after not in known:
        raise ValueError(
            f"labels.{name}.after = '{label.after}' must be an event label above it: "
            f"{nearest(label.after, known)}"
        )
    if label.within is None and known[label.after].event != label.event:
        raise ValueError(
            f"labels.{name}.within is missing: how long after '{label.after}' an event of "
            f"{label.event} still counts, as in '1d'"
        )


def _check_options(labels: Mapping[str, Label], name: str, task: Task) -> None:
    """Checks that a task's options fit what it predicts: a probability or a number."""
    number = labels[task.label].is_number
    kind, losses = ("a number", NUMBER_LOSSES) if number else ("0 or 1", PROBABILITY_LOSSES)
    if task.loss is not None and task.loss not in losses:
        raise ValueError(
            f"tasks.{name}.loss = '{task.loss}', but the label '{task.label}' is {kind}: its "
            f"loss is {' or '.join(losses)}"
        )
    if task.huber_delta != Task.model_fields["huber_delta"].default and task.loss != "huber":
        raise ValueError(
            f"tasks.{name}.huber_delta = {task.huber_delta} is for loss = 'huber': give that "
            "loss, or remove it"
        )
    for key in PROBABILITY_KEYS:
        if number and getattr(task, key) != Task.model_fields[key].default:
            raise ValueError(
                f"tasks.{name}.{key} is for a label of 0 and 1, but '{task.label}' is a number: "
                "remove it, or give the label at_least"
            )


def _check_task(
    tasks: Mapping[str, Task], labels: Mapping[str, Label], name: str, task: Task
) -> None:
    if task.label not in labels:
        raise ValueError(
            f"tasks.{name}.label = '{task.label}' is not a label: {nearest(task.label, labels)}"
        )
    _check_options(labels, name, task)
    if task.given is None:
        if task.joint:
            raise ValueError(
                f"tasks.{name}.joint = '{task.joint}' names the probability of a chain: give "
                "`given`, or remove it"
            )
        if task.label_is_joint:
            raise ValueError(
                f"tasks.{name}.label_is_joint: the label is that of a chain, whose steps before "
                "it are unknown: give `given`"
            )
        return
    parents = [t.label for n, t in tasks.items() if n != name]
    if task.given not in parents:
        raise ValueError(
            f"tasks.{name}.given = '{task.given}' must be the label of another task: "
            f"{nearest(task.given, parents)}"
        )
    if labels[task.given].is_number:
        raise ValueError(
            f"tasks.{name}.given = '{task.given}' is a number: a sample space is where a label "
            "of 0 and 1 is 1; "
            "declare a task on a label with at_least, and name that label"
        )
    seen, at = {name}, parent_task(tasks, name)
    while at is not None:
        if at in seen:
            raise ValueError(
                f"tasks.{name}.given = '{task.given}' leads back to '{at}': a chain of tasks has "
                "a first one"
            )
        seen.add(at)
        at = parent_task(tasks, at)
