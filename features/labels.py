"""The labels and tasks that a user declares by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from features.settings import Duration, Name, Settings


class Valued(Settings):
    """A label from a number. Numbers below 0 are refused: −1 means unknown.

    Args:
        value: The number's column.
        of: A second column, which the number is divided by.
        at_least: Makes the label binary: 1 if the number reaches it. Otherwise the label is the
            number itself.
        clip: [low, high], which the number is clipped to.
        transform: "log1p" is log(1 + x), after clipping.
    """

    value: str | None = None
    of: str | None = None
    at_least: float | None = Field(None, gt=0)
    clip: tuple[float, float] | None = None
    transform: Literal["none", "log1p"] = "none"

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        given = [k for k in ("of", "at_least", "clip") if getattr(self, k) is not None]
        if self.transform != "none":
            given.append("transform")
        if given and self.value is None:
            raise ValueError(f"{given[0]} is for labels from a number: name its column in value")
        if self.at_least is not None and (self.clip or self.transform != "none"):
            raise ValueError(
                "clip and transform shape a number, but at_least makes the label binary: give "
                "one or the other"
            )
        if self.clip and not 0 <= self.clip[0] < self.clip[1]:
            raise ValueError(
                f"clip = {list(self.clip)} must be [low, high] with 0 ≤ low < high: a label "
                "below 0 means unknown"
            )
        return self

    @property
    def is_number(self) -> bool:
        """Whether the label is a number, not 0 or 1."""
        return self.value is not None and self.at_least is None


class EventLabel(Valued):
    """A label from the events of a stream: 1 if one happened inside a window after the impression.

    Args:
        event: The stream of events.
        within: The length of the window, as in "30m". It may be left out if `after` is a label of
            the same stream: the event of that label counts.
        after: A label at whose event the window starts, instead of at the impression.
        take: With `value`, which number counts of the events inside the window: the first event's,
            the last's, their sum or the largest. Without an event it is 0.

    Example:
        >>> EventLabel(event="clicks", within="30m").window
        datetime.timedelta(seconds=1800)
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
                "within is missing: how long after the impression an event still counts, as in "
                "'30m'"
            )
        return self

    @property
    def window(self) -> timedelta:
        """The length of the window; 0 if `within` is left out."""
        return self.within if self.within is not None else timedelta(0)


class ColumnLabel(Settings):
    """A label from a text column: 1 if the text `equals` the given one, or one of those given, 0 if
    it does not, −1 (unknown) if it is missing.

    Example:
        >>> ColumnLabel(column="income", equals=[">50K", ">50K."]).is_number
        False
    """

    column: str
    equals: str | Annotated[list[str], Field(min_length=1)] = "1"

    @property
    def is_number(self) -> bool:
        """False: the label is 0 or 1."""
        return False


class ValueLabel(Valued):
    """A label from a number column of the impression itself; −1 (unknown) if it is missing."""

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


# The keys decide which class validates a label: a mistake then has one error, not three.
Label = Annotated[
    Annotated[EventLabel, Tag("EventLabel")]
    | Annotated[ColumnLabel, Tag("ColumnLabel")]
    | Annotated[ValueLabel, Tag("ValueLabel")],
    Discriminator(_label_kind),
]


class Task(Settings):
    """A prediction target: the probability of a binary label or the value of a numeric one.

    Args:
        label: The label that is predicted.
        given: The label whose positive rows are the task's sample space; by default all rows.
        joint: The name of p(given and label), as ctcvr for tasks ctr and cvr.
        label_is_joint: The label is that of the joint itself, known on all rows. Otherwise the
            joint's label is 1 if both `given` and `label` are.
        threshold: The score from which on precision, recall and accuracy count a row as positive.
        positive_weight: Multiplies the loss of rows with label 1; scores undo it.
        calibrate: Maps the scores of the task and of its joint to the rates of held-out training
            rows.
        loss: Cross entropy for binary labels; "mse" or "huber" for numbers.
        huber_delta: The error beyond which Huber's loss is linear.

    Example:
        >>> Task(label="convert", given="click").threshold
        0.5
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
