"""The labels and tasks that a user declares by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from features.settings import Duration, Name, Settings


class Valued(Settings):
    """A label from a number: `value` names its column, `of` a second one that it is divided by.

    With `at_least` the label is binary: 1 where the number reaches it. Else the label is the number
    itself, cut to `clip` = [low, high], then `transform`ed. Numbers below 0 are refused: −1 means
    unknown.
    """

    value: str | None = None
    of: str | None = None
    at_least: float | None = Field(None, gt=0)
    clip: tuple[float, float] | None = None
    transform: Literal["none", "log1p"] = "none"

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        given = [k for k in ("of", "at_least", "clip") if getattr(self, k) is not None] + [
            "transform"
        ] * (self.transform != "none")
        if given and self.value is None:
            raise ValueError(f"{given[0]} is for labels from a number: name its column in value")
        if self.at_least is not None and (self.clip or self.transform != "none"):
            raise ValueError(
                "clip and transform shape a number, but at_least makes the label binary: give one or the other"
            )
        if self.clip and not 0 <= self.clip[0] < self.clip[1]:
            raise ValueError(
                f"clip = {list(self.clip)} must be [low, high] with 0 ≤ low < high: a label below 0 means unknown"
            )
        return self

    @property
    def is_number(self) -> bool:
        """Whether the label is a number, not 0 or 1."""
        return self.value is not None and self.at_least is None


class EventLabel(Valued):
    """1 if an event of the stream `event` happened `within` the window, counted from the impression
    or from label `after`.

    With `value` it comes from the numbers of the events inside the window: the `take` of them (the
    first event's, the last's, their sum, the largest); 0 without an event. `within` may be left out
    `after` a label of the same stream: the very event of that label is meant.
    """

    event: str
    within: Duration | None = None
    after: str | None = None
    take: Literal["first", "last", "sum", "max"] = "first"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.take != "first" and self.value is None:
            raise ValueError(
                f"take = '{self.take}' is for labels from a number: name its column in value"
            )
        if self.within is None and self.after is None:
            raise ValueError(
                "within is missing: how long after the impression an event still counts, as in '30m'"
            )
        return self

    @property
    def window(self) -> timedelta:
        return self.within if self.within is not None else timedelta(0)


class ColumnLabel(Settings):
    """1 if the column's text `equals` the given one, or one of those given, 0 if it does not, −1
    (unknown) if it is missing.
    """

    column: str
    equals: str | Annotated[list[str], Field(min_length=1)] = "1"

    @property
    def is_number(self) -> bool:
        return False


class ValueLabel(Valued):
    """A label from a number column of the impression itself; −1 (unknown) where it is missing."""

    value: str


def _label_kind(label: Any) -> str:
    if isinstance(label, Settings):
        return type(label).__name__
    keys = label if isinstance(label, dict) else {}
    return (
        "ColumnLabel"
        if "column" in keys
        else "ValueLabel"
        if "value" in keys and "event" not in keys
        else "EventLabel"
    )


# Told apart before any is tried: a mistake then has one error, not one for each kind.
Label = Annotated[
    Annotated[EventLabel, Tag("EventLabel")]
    | Annotated[ColumnLabel, Tag("ColumnLabel")]
    | Annotated[ValueLabel, Tag("ValueLabel")],
    Discriminator(_label_kind),
]


class Task(Settings):
    """A prediction target: the probability of a binary label or the value of a numeric one; over
    all rows, or over its sample space, the rows whose label `given` is 1.

    `joint` names the probability of the whole chain, p(given and label): p_ctcvr for tasks ctr and
    cvr. With `label_is_joint` the label is that of the joint itself, known on all rows, where it is
    otherwise 1 if both given and label are. `threshold` is where precision, recall and accuracy
    cut. `positive_weight` multiplies the loss of rows of label 1; scores undo it. `calibrate` maps
    the scores of the task and of its joint to the rates of held-out training rows. A number's
    `loss` is the squared error or Huber's, linear beyond `huber_delta`.
    """

    label: str
    given: str | None = None
    joint: Name | None = None
    label_is_joint: bool = False
    threshold: float = Field(0.5, gt=0, lt=1)
    positive_weight: float = Field(1.0, gt=0)
    calibrate: Literal["isotonic", "platt"] | None = None
    loss: Literal["cross_entropy", "mse", "huber"] | None = None
    huber_delta: float = Field(1.0, gt=0)


def parent_task(tasks: Mapping[str, Task], name: str) -> str | None:
    """The task whose label is the sample space of the named one; None if that is all rows."""
    given = tasks[name].given
    if given is None:
        return None
    return next((n for n, task in tasks.items() if n != name and task.label == given), None)
