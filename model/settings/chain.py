"""The chain of tasks that a funnel needs."""

from __future__ import annotations

from features.errors import FunnelError
from features.spec import Spec


def refuse_numbers(spec: Spec, funnel: str) -> None:
    """Raises FunnelError when a task predicts a number, which no product of probabilities holds."""
    for task, declared in spec.tasks.items():
        if spec.labels[declared.label].is_number:
            raise FunnelError(
                f"model.funnel = '{funnel}' predicts probabilities, but the label "
                f"'{declared.label}' of task '{task}' is a number: "
                "use funnel 'independent', or give the label at_least"
            )


def check_chain(spec: Spec, funnel: str, *, longest: int | None = None) -> list[str]:
    """The tasks as one chain, in which each is `given` the label of the one before.

    Args:
        spec: the tasks.
        funnel: the funnel's name, for errors.
        longest: the most tasks that the funnel is defined for.

    Raises:
        FunnelError: the tasks are not one chain of at least two, or the chain is too long.
    """
    refuse_numbers(spec, funnel)
    first = [task for task in spec.tasks if spec.parent(task) is None]
    if not any(task.given for task in spec.tasks.values()):
        raise FunnelError(
            f"model.funnel = '{funnel}' needs a chain of tasks, but none of "
            f"{', '.join(spec.tasks)} has `given`; declare one, as in "
            "cvr = { label = 'convert', given = 'click' }, or use funnel 'independent'"
        )
    chain = first[:1]
    # A loop with `while … :=` fails: funnels call this inside the graph, where AutoGraph cannot
    # convert it.
    for _ in spec.tasks:
        chain += [task for task in spec.tasks if spec.parent(task) == chain[-1]][:1]
    if len(chain) < len(spec.tasks):
        left = next(task for task in spec.tasks if task not in chain)
        raise FunnelError(
            f"model.funnel = '{funnel}' needs its tasks in one chain, but {' → '.join(chain)} "
            f"leaves out '{left}': give each task but the first the label of the one before as "
            "`given`, or use funnel 'independent'"
        )
    if longest and len(chain) > longest:
        raise FunnelError(
            f"model.funnel = '{funnel}' is defined for chains of at most {longest} tasks, and "
            f"these are {' → '.join(chain)}"
        )
    return chain
