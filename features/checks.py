"""Whether the declarations of a spec fit together. Each check raises ValueError that names the key,
the rule and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.declarations import Categorical, Coded, Cross, Product, Sequence
from features.errors import nearest
from features.labels import ColumnLabel, EventLabel, Label, Task

if TYPE_CHECKING:
    from features.spec import Spec

LAYOUT_KEYS = (
    "ids",
    "dense",
    "id",
    "weight",
)  # of the tf.Example, where each label has its own key too
NUMBER_LOSSES, PROBABILITY_LOSSES = ("mse", "huber"), ("cross_entropy",)
PROBABILITY_KEYS = (
    "joint",
    "label_is_joint",
    "threshold",
    "positive_weight",
    "calibrate",
)  # of tasks on a label of 0 and 1
SHARED = ("buckets", "vocabulary", "min_count", "dim")


def check(spec: Spec) -> None:
    """All checks, in the order in which a file is read."""
    for name in spec.features:
        _check_feature(spec, name)
    _check_served(spec)
    for name, label in spec.labels.items():
        _check_label(spec, name, label)
    for name, task in spec.tasks.items():
        _check_task(spec, name, task)
    outputs = [*spec.tasks, *(t.joint for t in spec.tasks.values() if t.joint)]
    twice = {o for o in outputs if outputs.count(o) > 1}
    if twice:
        raise ValueError(
            f"tasks and joints share the name '{min(twice)}': give one of them another name"
        )


def _check_feature(spec: Spec, name: str) -> None:
    feature = spec.features[name]
    reserved = [
        *LAYOUT_KEYS,
        *(f"{n}_weights" for n, f in spec.features.items() if getattr(f, "weights", None)),
    ]
    if name in reserved:
        raise ValueError(
            f"features.{name}: the tf.Example keeps {', '.join(reserved)} for itself: give the feature another name"
        )
    if isinstance(feature, Cross):
        _check_cross(spec, name, feature)
    elif isinstance(feature, Product):
        _check_product(spec, name, feature)
    elif isinstance(feature, Coded) and feature.shares:
        _check_shares(spec, name, feature)


def _check_cross(spec: Spec, name: str, cross: Cross) -> None:
    parts = [spec.features.get(part) for part in cross.of]
    for part, feature in zip(cross.of, parts, strict=True):
        if feature is not None and not isinstance(feature, Categorical):
            raise ValueError(
                f"features.{name}.of names '{part}', a {feature.kind} feature: a cross is of categorical ones"
            )
    many = [part for part, f in zip(cross.of, parts, strict=True) if f is not None and f.max_length]
    if many and not cross.max_length:
        raise ValueError(
            f"features.{name} crosses the multi-valued '{many[0]}': give max_length, how many pairs are kept"
        )


def _check_product(spec: Spec, name: str, product: Product) -> None:
    for part in product.of:
        if part not in spec.embedded:
            raise ValueError(
                f"features.{name}.of names '{part}', which has no embedding: {nearest(part, spec.embedded)}"
            )
    left, right = (spec.features[part].dim for part in product.of)
    if left != right:
        raise ValueError(
            f"features.{name} multiplies '{product.of[0]}' of dim {left} with '{product.of[1]}' of dim {right}: give both the same dim"
        )


def _check_shares(spec: Spec, name: str, feature: Coded) -> None:
    owner = spec.features.get(feature.shares)
    owners = [
        n
        for n, f in spec.features.items()
        if isinstance(f, Categorical | Sequence) and not f.shares
    ]
    if feature.shares not in owners:
        raise ValueError(
            f"features.{name}.shares = '{feature.shares}' must be a categorical feature with a table of its own: "
            f"{nearest(feature.shares, owners)}"
        )
    for key in SHARED:
        if getattr(feature, key) != getattr(owner, key):
            raise ValueError(
                f"features.{name}.{key} = {getattr(feature, key)}, but it shares the table of '{feature.shares}', whose {key} is "
                f"{getattr(owner, key)}: leave it out"
            )
    if getattr(feature, "identity", False) != getattr(owner, "identity", False):
        raise ValueError(
            f"features.{name} and '{feature.shares}' share a table: both take integers as they are (identity), or neither"
        )


def _check_served(spec: Spec) -> None:
    served: dict[str, object] = {}
    for name, feature in spec.features.items():
        if getattr(feature, "serve", None) is None:
            continue
        if served.setdefault(feature.column, feature.serve) != feature.serve:
            raise ValueError(
                f"features.{name}.serve = {feature.serve!r}: another feature feeds {served[feature.column]!r} to '{feature.column}'"
            )
        wanted = {"integer": int, "text": str}.get(feature.raw_type)
        if wanted and not isinstance(feature.serve, wanted):
            raise ValueError(
                f"features.{name}.serve = {feature.serve!r}: its column holds {feature.raw_type}s, so give one"
            )


def _check_label(spec: Spec, name: str, label: Label) -> None:
    if name in LAYOUT_KEYS:
        raise ValueError(
            f"labels.{name}: the tf.Example keeps {', '.join(LAYOUT_KEYS)} for itself: give the label another name"
        )
    if name in spec.features:
        raise ValueError(f"labels.{name}: a feature has that name too: give one of them another")
    if isinstance(label, EventLabel):
        _check_after(spec, name, label)
        return
    read = [label.column] if isinstance(label, ColumnLabel) else [label.value, label.of]
    for feature_name, feature in spec.features.items():
        used = {
            getattr(feature, "column", None),
            getattr(feature, "weights", None),
            *getattr(feature, "of", []),
        }
        for column in set(read[:1]) & used:
            raise ValueError(
                f"labels.{name} and features.{feature_name} both read the column '{column}': "
                "a label may not be a feature; remove the feature"
            )


def _check_after(spec: Spec, name: str, label: EventLabel) -> None:
    if label.after is None:
        return
    earlier = list(spec.labels)[: list(spec.labels).index(name)]
    known = [n for n in earlier if isinstance(spec.labels[n], EventLabel)]
    if label.after not in known:
        raise ValueError(
            f"labels.{name}.after = '{label.after}' must be an event label above it: {nearest(label.after, known)}"
        )
    if label.within is None and spec.labels[label.after].event != label.event:
        raise ValueError(
            f"labels.{name}.within is missing: how long after '{label.after}' an event of {label.event} still counts, as in '1d'"
        )


def _check_kind(spec: Spec, name: str, task: Task) -> None:
    """Whether a task's options are those of what it predicts: a probability or a number."""
    number = spec.labels[task.label].is_number
    kind, losses = ("a number", NUMBER_LOSSES) if number else ("0 or 1", PROBABILITY_LOSSES)
    if task.loss is not None and task.loss not in losses:
        raise ValueError(
            f"tasks.{name}.loss = '{task.loss}', but the label '{task.label}' is {kind}: its loss is {' or '.join(losses)}"
        )
    if task.huber_delta != Task.model_fields["huber_delta"].default and task.loss != "huber":
        raise ValueError(
            f"tasks.{name}.huber_delta = {task.huber_delta} is for loss = 'huber': give that loss, or remove it"
        )
    for key in PROBABILITY_KEYS:
        if number and getattr(task, key) != Task.model_fields[key].default:
            raise ValueError(
                f"tasks.{name}.{key} is for a label of 0 and 1, but '{task.label}' is a number: remove it, or give the label at_least"
            )


def _check_task(spec: Spec, name: str, task: Task) -> None:
    if task.label not in spec.labels:
        raise ValueError(
            f"tasks.{name}.label = '{task.label}' is not a label: {nearest(task.label, spec.labels)}"
        )
    _check_kind(spec, name, task)
    if task.given is None:
        if task.joint:
            raise ValueError(
                f"tasks.{name}.joint = '{task.joint}' names the probability of a chain: give `given`, or remove it"
            )
        if task.label_is_joint:
            raise ValueError(
                f"tasks.{name}.label_is_joint: the label is that of a chain, whose steps before it are unknown: give `given`"
            )
        return
    parents = [t.label for n, t in spec.tasks.items() if n != name]
    if task.given not in parents:
        raise ValueError(
            f"tasks.{name}.given = '{task.given}' must be the label of another task: {nearest(task.given, parents)}"
        )
    if spec.labels[task.given].is_number:
        raise ValueError(
            f"tasks.{name}.given = '{task.given}' is a number: a sample space is where a label of 0 and 1 is 1; "
            "declare a task on a label with at_least, and name that label"
        )
    seen, at = {name}, spec.parent(name)
    while at is not None:
        if at in seen:
            raise ValueError(
                f"tasks.{name}.given = '{task.given}' leads back to '{at}': a chain of tasks has a first one"
            )
        seen.add(at)
        at = spec.parent(at)
