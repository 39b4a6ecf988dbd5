"""The stages of a run, and which of them need to run again."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.markup import escape

from features.errors import FunnelError
from funnel import stages_done, summary
from funnel.cli.interrupted import Interrupted
from funnel.config.config import Config
from funnel.console import console, load_tensorflow, progress_bar, text
from model.training.interrupts import Interrupts
from model.training.workers import worker, workers

if TYPE_CHECKING:
    from model.training.config import TrainConfig

MODE = (
    "precision",
    "xla",
)  # one mode may be written in several ways: only the estimator knows which a run was trained in


def simulate(config: Config, beam_args: Sequence[str] = ()) -> None:
    """Writes the logs of [simulate]."""
    from pipeline.simulation.simulate import simulate as write_logs

    if config.simulate is None:
        raise FunnelError(
            "the configuration has no [simulate] section: nothing says what to simulate; see examples/demo.toml"
        )
    with _stage(config, "simulate") as done, progress_bar("simulating", "impressions") as progress:
        counts = write_logs(config.simulate, config.logs, on_progress=progress, overwrite=True)
        rows = ", ".join(
            f"{counts[stream]['rows']:,} {stream}"
            for stream in ("impressions", "clicks", "conversions")
        )
        done(f"{rows} → {config.logs}")


def preprocess(config: Config, beam_args: Sequence[str] = ()) -> None:
    """Logs → data/."""
    from pipeline.job import preprocess as run_job

    settings = config.preprocess
    with (
        _stage(config, "preprocess") as done,
        progress_bar("preprocessing", "files and shards") as progress,
    ):
        manifest = run_job(settings, config.data, beam_args, progress)
        rows = manifest["rows"]
        done(
            f"{rows['examples_written']:,} examples of {rows['impressions_read']:,} impressions → {config.data}",
            rows=rows,
        )
    for warning in manifest["warnings"]:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def train(
    config: Config,
    beam_args: Sequence[str] = (),
    *,
    anew: bool = False,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """data/ → model/checkpoints, from the latest checkpoint if there is one, unless `anew`; `begun`
    hears when the first step is next.

    Raises Interrupted after SIGTERM: at once before that, with a checkpoint afterwards.
    """
    with Interrupts(at_once=Interrupted(None)) as interrupts:
        load_tensorflow()
        from funnel.training import Run

        with _stage(config, "train") as done:
            run = Run(config, anew=anew)
            for note in run.ranking.notes:
                console.print(f"[dim]· {escape(note)}[/dim]")
            run.prepare()
            begun()
            interrupts.at_once = None
            trained = run.train()
            losses = trained.report.losses if trained.report else {}
            shown = ", ".join(f"{name} {text(loss)}" for name, loss in losses.items())
            if worker() == 0:
                config.save(run.ranking.train)
            falling = run.still_falling()
            done(f"{'loss ' + shown if losses else 'already complete'} → {config.model_dir}")
        if interrupts.requested or trained.ended == "signal":  # here, or at another worker
            raise Interrupted(trained.step)
    if falling:
        console.print(f"[dim]· {escape(falling)}[/dim]")
    reasons = {"callback": "as a callback asked", "data": "since the input is exhausted"}
    if trained.ended in reasons:
        console.print(
            f"[yellow]warning:[/yellow] training ended at step {trained.step:,}, {reasons[trained.ended]}"
        )


def evaluate(config: Config, beam_args: Sequence[str] = ()) -> None:
    """The latest checkpoint on the eval split → summary.json."""
    load_tensorflow()
    from funnel.training import Run

    with _stage(config, "evaluate") as done:
        run = Run(config)
        estimator = run.estimator
        predictions = estimator.predict(run.eval_input)
        results = estimator.measure(predictions)
        if config.evaluation.truth is not None:
            _add_truth(config, predictions, results)
        health = estimator.health(run.eval_input)
        done(_shown(results), evaluation=results, health=health)
    for line in health["warnings"]:
        console.print(f"[yellow]warning:[/yellow] {escape(line)}")


def _shown(results: dict[str, dict]) -> str:
    """AUC of probabilities, the mean squared error of numbers."""
    parts = []
    for key, title in (("auc", "AUC"), ("mse", "mse")):
        found = ", ".join(
            f"{name} {text(result[key])}" for name, result in results.items() if key in result
        )
        parts += [f"{title} {found}"] if found else []
    return "; ".join(parts)


def export(config: Config, beam_args: Sequence[str] = ()) -> None:
    """The latest checkpoint → export/<version>, checked with the loaders that serve, in a fresh
    process.
    """
    load_tensorflow()
    from funnel.training import Run

    with _stage(config, "export") as done:
        result = Run(config).estimator.export_saved_model(config.export_dir)
        check = result.check
        made = {"path": str(result.path), "version": result.version, "outputs": result.outputs}
        ran = ", ".join(name for name, loader in check.loaders.items() if loader.not_run is None)
        line = (
            f"{ran}: equal to the checkpoint within {check.max_abs_difference:.1g} → {result.path}"
        )
        done(line, parity=check.summary(), export=made)
    for name, loader in check.loaders.items():
        if loader.not_run is not None:
            console.print(
                f"[yellow]warning:[/yellow] the loader {name} was not run: {escape(loader.not_run)}"
            )


def report(config: Config, beam_args: Sequence[str] = ()) -> None:
    """summary.json, statistics and metrics → report.html."""
    from funnel.reports.report import write_report

    with _stage(config, "report") as done:
        done(f"→ {write_report(config.run)}")


@dataclass(frozen=True)
class Stage:
    """A stage, what it depends on besides the stages before it, and the file that shows it was
    done.

    A change of `goes_on` has it run again, but not start over.
    """

    run: Callable[..., None]
    inputs: Callable[[Config], Any]
    output: Callable[[Config], Path]
    goes_on: Callable[[Config], Any] = lambda config: None


def _preprocess_inputs(config: Config) -> Any:
    from pipeline.sources.files import find_sources, find_tables

    settings = config.preprocess
    declared = settings.model_dump(mode="json", exclude={"spec"})
    lists = [
        (f.vocabulary, Path(f.vocabulary).read_text())
        for f in settings.spec.vocabularies.values()
        if f.vocabulary
    ]
    return [
        declared,
        settings.spec.fingerprint,
        lists,
        [asdict(s) for s in find_sources(settings) + find_tables(settings)],
    ]


def _train_inputs(config: Config) -> Any:
    load_tensorflow()
    sections = [config.spec, config.model, config.warm_start]
    course = _suited(config).model_dump(mode="json", exclude={"steps", "epochs", *MODE})
    return [str(config.source), course, *(section.model_dump(mode="json") for section in sections)]


def _train_goes_on(config: Config) -> Any:
    sections = [
        config.exporters.model_dump(mode="json"),
        config.evaluation.model_dump(mode="json", exclude={"truth"}),
    ]
    return [_suited(config).model_dump(mode="json", include={"steps", "epochs", *MODE}), *sections]


def _suited(config: Config) -> TrainConfig:
    """[train] with what suits the data: to write that out changes nothing."""
    from funnel.training import suited

    try:
        return suited(config).train
    except FunnelError:  # no data yet, or no run to start from: the stage itself says so
        return config.train


def _exported(config: Config) -> Path:
    return Path(summary.read(config.run).get("export", {}).get("path", config.export_dir / "none"))


STAGES = {
    "simulate": Stage(
        simulate,
        lambda c: c.simulate and c.simulate.model_dump(mode="json"),
        lambda c: c.logs / "truth.parquet",
    ),
    "preprocess": Stage(preprocess, _preprocess_inputs, lambda c: c.data / "manifest.json"),
    "train": Stage(
        train, _train_inputs, lambda c: c.model_dir / "checkpoints" / "checkpoint", _train_goes_on
    ),
    "evaluate": Stage(
        evaluate,
        lambda c: c.evaluation.model_dump(mode="json"),
        lambda c: c.model_dir / "reliability.json",
    ),
    "export": Stage(export, lambda c: None, _exported),
    "report": Stage(report, lambda c: None, lambda c: c.run / "report.html"),
}


def run_all(config: Config, beam_args: Sequence[str] = (), *, force: bool = False) -> None:
    """Runs every stage whose inputs or configuration have changed since it was last done; with
    `force`, every stage.
    """
    if workers() > 1:
        raise FunnelError(
            f"TF_CONFIG names {workers()} workers, and each of them would preprocess: run `funnel preprocess` without TF_CONFIG, then "
            "`funnel train` on each worker, then `funnel evaluate` and `funnel export` without it"
        )
    load_tensorflow()
    _connect(beam_args)
    config.save()  # validates every section before the first stage runs
    for name in STAGES if config.simulate else list(STAGES)[1:]:
        key, recorded = _key(config, name), stages_done.read(config.run).get(name, {})
        if (
            not force
            and recorded == {"key": key, "done": True}
            and STAGES[name].output(config).exists()
        ):
            console.print(f"[dim]· {name:<10}  unchanged[/dim]")
            if name == "train":  # else the stage itself writes what suits the data
                config.save(_suited(config))
        else:
            run_stage(
                config, name, beam_args, anew=force or recorded.get("key", [None])[0] != key[0]
            )


def run_stage(
    config: Config, name: str, beam_args: Sequence[str] = (), *, anew: bool = False
) -> None:
    """Runs one stage and records what it was done with. `anew`: a training starts over, where it
    would go on. Of several workers all train, and the first alone does what else there is.
    """
    if name != "train" and worker():
        console.print(f"[dim]· {name:<10}  left to the first worker[/dim]")
        return
    if name == "preprocess":
        _connect(beam_args)
    key = functools.cache(lambda: _key(config, name))  # of what is there before the stage runs
    if name == "train":  # what an earlier one left is there until this one has begun
        train(
            config,
            beam_args,
            anew=anew,
            begun=lambda: stages_done.note(config.run, name, key(), done=False),
        )
    else:
        stages_done.note(config.run, name, key(), done=False)
        STAGES[name].run(config, beam_args)
    stages_done.note(config.run, name, key(), done=True)


def _connect(beam_args: Sequence[str]) -> None:
    """Files are looked for before a pipeline runs: Beam's filesystems need their options by then."""
    from pipeline.sources.files import connect

    connect(beam_args)


def _key(config: Config, name: str) -> list[str]:
    """Names what a stage depends on: [its own inputs and what the stage before it was last done
    with, what it goes on with].
    """
    names = [None, *STAGES]
    before = names[names.index(name) - 1]
    done = stages_done.read(config.run).get(before, {}).get("key", "")
    contents = [STAGES[name].inputs(config), done], STAGES[name].goes_on(config)
    return [
        hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]
        for content in contents
    ]


@contextmanager
def _stage(config: Config, name: str) -> Iterator[Callable[..., None]]:
    """Times a stage. Gives done(line, **sections): the stage's line on the screen, and sections of
    summary.json.
    """
    started, outcome = time.perf_counter(), {}

    def done(line: str, **sections: Any) -> None:
        outcome.update(line=line, sections=sections)

    yield done
    seconds = time.perf_counter() - started
    config.run.mkdir(parents=True, exist_ok=True)
    summary.update(config.run, name, seconds, **outcome["sections"])
    console.print(f"[green]✓[/green] {name:<10} {seconds:6.1f} s  {outcome['line']}")


def _add_truth(config: Config, predictions: dict, results: dict) -> None:
    """Adds auc_entire_space to the tasks that follow a click: their scores on all impressions
    against the drawn outcome.
    """
    from model.evaluation.metrics import auc_entire_space

    path = Path(config.evaluation.truth)
    if not path.exists():
        raise FunnelError(
            f"evaluation.truth = '{path}': no such file; it is a simulation's truth.parquet"
        )
    truth = pq.read_table(path, columns=["impression_id", "converts"])
    for task in (
        t for t, declared in config.spec.tasks.items() if declared.given and f"p_{t}" in predictions
    ):
        results[task]["auc_entire_space"] = auc_entire_space(
            list(predictions["id"]), predictions[f"p_{task}"], truth
        )
