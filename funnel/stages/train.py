"""The stage train: the preprocessed data → checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funnel.config.config import Config
from funnel.console import load_tensorflow, text
from funnel.stages.interrupted import Interrupted
from funnel.stages.stage import Outcome, inform, timed, warn
from model.training.interrupts import Interrupts
from model.training.workers import worker

if TYPE_CHECKING:
    from model.training.progress import Callback

ENDED_EARLY = {"callback": "as a callback asked", "data": "since the input is exhausted"}


def train(
    config: Config,
    beam_args: Sequence[str] = (),
    *,
    from_scratch: bool = False,
    callbacks: Sequence[Callback] = (),
    begun: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains from the latest checkpoint if there is one. Its result is a Trained.

    Args:
        from_scratch: Replace the checkpoints that are there.
        callbacks: Called at each report, besides those of the configuration.
        begun: Called when all is ready for the first step.

    Raises:
        Interrupted: After SIGTERM or SIGHUP: at once before the first step, afterwards with a
            checkpoint.
    """
    with Interrupts(at_once=functools.partial(Interrupted, None)) as interrupts:
        load_tensorflow()
        from funnel.stages.training import Run

        with timed(config, "train") as done:
            run = Run(config, from_scratch=from_scratch)
            repeat_warnings(run.data.manifest, run.data.directory)
            for note in run.ranking.notes:
                inform(note)
            run.prepare()
            begun()
            interrupts.at_once = None
            trained = run.train(callbacks)
            losses = trained.report.losses if trained.report else {}
            shown = ", ".join(f"{name} {text(loss)}" for name, loss in losses.items())
            if worker() == 0:
                config.save(run.ranking.train)
            falling = run.still_falling()
            done(
                f"{'loss ' + shown if losses else 'already complete'} → {config.model_dir}",
                trained,
                training={"step": trained.step, "ended": trained.ended, "losses": losses},
            )
        if interrupts.requested or trained.ended == "signal":  # here, or at another worker
            raise Interrupted(trained.step, interrupts.number)
    if falling:
        inform(falling)
    if trained.ended in ENDED_EARLY:
        warn(f"training ended at step {trained.step:,}, {ENDED_EARLY[trained.ended]}")
    return done


def repeat_warnings(manifest: dict[str, Any], directory: Path) -> None:
    """Names the warnings of the preprocessed data, in one line."""
    lines: list[str] = manifest.get("warnings", [])
    if lines and worker() == 0:
        kinds = manifest.get("warning_kinds", []) + [[]] * len(lines)  # earlier versions had none
        named: dict[str, list[str]] = {}
        for line, own in zip(lines, kinds, strict=False):
            named.setdefault(line.split()[0].rstrip(":"), []).extend(own)
        shown = [f"{name} ({', '.join(own)})" if own else name for name, own in named.items()]
        warn(
            f"the data were written with {len(lines)} warning{'s' * (len(lines) > 1)}: "
            f"{', '.join(shown)}; `funnel inspect {directory}` shows them"
        )
