"""Options of the funnels, their heads and objectives, and FUNNEL_PARAMS: them all by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from features.errors import FunnelError, nearest
from features.spec import Spec
from model.settings.base import FunnelParams, ObjectiveTraits
from model.settings.chain import check_chain, refuse_numbers
from model.settings.networks import Units

IMPUTATION = "imputation"  # a head of escm2


class IndependentParams(FunnelParams):
    """Options of model.funnels.independent."""

    def check(self, spec: Spec) -> None:
        super().check(spec)
        for task in spec.tasks:
            parent = spec.parent(task)
            if parent and spec.tasks[parent].label_is_joint and not spec.tasks[task].label_is_joint:
                raise FunnelError(
                    f"model.funnel = 'independent' predicts only the joint of '{parent}', whose "
                    f"label is the joint label, and has no p_{parent} to multiply '{task}' with: "
                    f"declare label_is_joint for '{task}' too, or use funnel 'esmm'"
                )

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        return [ObjectiveTraits(output_of(task, spec), {task}) for task in spec.tasks]


class ESMMParams(FunnelParams):
    """Options of model.funnels.esmm."""

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_chain(spec, "esmm")

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        return [ObjectiveTraits(joint_of(task, spec), up_to(task, spec)) for task in spec.tasks]


class ESM2Params(FunnelParams):
    """Options of model.funnels.esm2."""

    action: str | None = None

    def check(self, spec: Spec) -> None:
        refuse_numbers(spec, "esm2")
        roots = [task for task in spec.tasks if spec.parent(task) is None]
        children = [task for task in spec.tasks if spec.parent(task) == roots[0]]
        if len(roots) > 1 or len(children) != 2 or len(spec.tasks) != 3:
            raise FunnelError(
                "model.funnel = 'esm2' needs three tasks: one of the click, and those of the "
                "action and of the purchase, both with the click's label as `given`; these are "
                f"{', '.join(spec.tasks)}"
            )
        if self.action not in children:
            value = "is not given" if self.action is None else f"= '{self.action}'"
            raise FunnelError(
                f"model.funnel.action {value}: name the task of the action: "
                f"{nearest(str(self.action), children)}"
            )
        heads = self.heads_of(spec)
        for head in heads:
            if heads.count(head) > 1:
                task = head if head in spec.tasks else self.action
                raise FunnelError(
                    f"tasks.{task}: model.funnel = 'esm2' gives each head its own tower, but "
                    f"those of {', '.join(spec.tasks)} are {', '.join(heads)}, where '{head}' is "
                    "twice: give the task another name"
                )
        super().check(spec)

    def heads_of(self, spec: Spec) -> list[str]:
        click, action, purchase = self.roles(spec)
        return [click, action, f"{purchase}_{action}", f"{purchase}_other"]

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        heads = self.heads_of(spec)
        reached = zip(self.roles(spec), (1, 2, 4), strict=True)
        return [ObjectiveTraits(joint_of(task, spec), {*heads[:n]}) for task, n in reached]

    def roles(self, spec: Spec) -> tuple[str, str, str]:
        """The tasks of the click, of the action and of the purchase."""
        action = self.action or ""  # `check` refuses a configuration without it
        click = spec.parent(action) or ""
        return click, action, next(task for task in spec.tasks if task not in (click, action))


class DBMTLParams(FunnelParams):
    """Options of model.funnels.dbmtl."""

    relation_units: Units = Field([32])

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_chain(spec, "dbmtl")

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        return [ObjectiveTraits(task, up_to(task, spec)) for task in spec.tasks]


class AITMParams(FunnelParams):
    """Options of model.funnels.aitm."""

    calibrator_weight: float = Field(0.6, ge=0)

    def check(self, spec: Spec) -> None:
        super().check(spec)
        widths = {task: (self.units_of(task) or [0])[-1] for task in check_chain(spec, "aitm")}
        if 0 in widths.values() or len(set(widths.values())) > 1:
            raise FunnelError(
                f"model.funnel.tower_units = {self.tower_units}: aitm attends to what towers "
                "give, so all end in the same number of units"
            )

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        chain = check_chain(spec, "aitm")
        steps = [ObjectiveTraits(joint_of(task, spec), up_to(task, spec)) for task in chain]
        return steps + [
            ObjectiveTraits(f"calibrator_{task}", up_to(task, spec), penalty="calibrator_weight")
            for task in chain[1:]
        ]


class ESCM2Params(FunnelParams):
    """Options of model.funnels.escm2."""

    estimator: Literal["ipw", "dr"] = "ipw"
    propensity_floor: float = Field(0.02, gt=0, le=1)
    counterfactual_weight: float = Field(1.0, ge=0)
    global_weight: float = Field(1.0, ge=0)

    def heads_of(self, spec: Spec) -> list[str]:
        return [*spec.tasks, *([IMPUTATION] if self.estimator == "dr" else [])]

    def check(self, spec: Spec) -> None:
        super().check(spec)
        if IMPUTATION in spec.tasks:
            raise FunnelError(
                f"tasks.{IMPUTATION}: funnel 'escm2' has a head of that name: give the task another"
            )
        check_chain(spec, "escm2", longest=2)
        if self.counterfactual_weight == 0:
            for name in self.changed("estimator", "propensity_floor"):
                raise FunnelError(
                    f"model.funnel.{name} = {getattr(self, name)!r} belongs to the counterfactual "
                    "risk, and counterfactual_weight = 0 leaves that out: give a weight, or leave "
                    f"{name} out"
                )

    def objectives_of(self, spec: Spec) -> list[ObjectiveTraits]:
        click, convert = check_chain(spec, "escm2")
        if self.estimator == "ipw":
            risks = [ObjectiveTraits(convert, {convert})]
        else:
            risks = [
                ObjectiveTraits(
                    convert, {convert, IMPUTATION}, nonnegative_with="estimator = 'ipw'"
                ),
                ObjectiveTraits(IMPUTATION, {IMPUTATION}),
            ]
        first = ObjectiveTraits(joint_of(click, spec), {click})
        return [first, *risks, ObjectiveTraits(joint_of(convert, spec), {click, convert})]


FUNNEL_PARAMS: Mapping[str, type[FunnelParams]] = {
    "independent": IndependentParams,
    "esmm": ESMMParams,
    "esm2": ESM2Params,
    "dbmtl": DBMTLParams,
    "aitm": AITMParams,
    "escm2": ESCM2Params,
}


def output_of(task: str, spec: Spec) -> str:
    """What the head of a task predicts where each task has its own: the task, or its joint."""
    return joint_of(task, spec) if spec.tasks[task].label_is_joint else task


def joint_of(task: str, spec: Spec) -> str:
    """The name of the probability of the chain up to a task: its joint, or the first task."""
    return spec.tasks[task].joint or task


def up_to(task: str, spec: Spec) -> set[str]:
    """A task and those before it in its chain."""
    found, at = {task}, spec.parent(task)
    while at is not None:
        found.add(at)
        at = spec.parent(at)
    return found
