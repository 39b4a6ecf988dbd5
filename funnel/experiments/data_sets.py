"""One data set of the `defaults` experiment: its declarations, raw files and preprocessed rows.

A set declares features, tasks, sharing and funnel, but nothing in [train]: it tests the defaults.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from features import files
from features.errors import FunnelError
from features.manifest import VERSION
from funnel.config.config import Config, Sections, load
from funnel.examples import EXAMPLES
from funnel.experiments.training import SAME_NUMBERS, flat
from pipeline.job import preprocess
from pipeline.simulation.simulate import simulate

Half = Literal["studied", "held-out"]
STREAMS = ("impressions", "clicks", "conversions")
DIM = 8  # of every embedding
PUBLIC = Path("../shared/public")


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Args:
        half: Whether the defaults were chosen on it, or are only tested on it.
        example: The configuration file that it starts from.
        sections: Replace sections of the example.
        without: Features that it drops.
        funnel: The funnel of its model.
        lines: Keep only the first lines of the training file.
        public: A public set's folder, inside the folder of all public sets.
        convert: convert(folder, file) writes that folder as one CSV file.
    """

    half: Half
    example: str | None = None
    sections: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    funnel: str = "independent"
    lines: int | None = None
    public: str | None = None
    convert: Callable[[Path, Path], None] | None = None

    def config(self, folder: Path, seed: int = 1) -> Config:
        """Its configuration; all files are written below `folder`."""
        path = EXAMPLES / f"{self.example}.toml"
        base = load(path).sections if self.example else Sections()
        update = {"run": str(folder), **self.sections}
        features = update.get("features", base.features).items()
        update["features"] = {n: _of_dim(f) for n, f in features if n not in self.without}
        update["logs"] = self._logs(update.get("logs", base.logs), folder)
        update["model"] = {"sharing": {"name": "mmoe"}, "funnel": {"name": self.funnel}}
        update["train"] = {"seed": seed} | _machine_free()
        update["evaluation"] = {}
        return Config(base.model_copy(update=update), folder)

    def _logs(self, logs: dict[str, Any], folder: Path) -> dict[str, Any]:
        if "simulate" in self.sections:
            files = {stream: f"{folder}/logs/{stream}/*/*" for stream in STREAMS}
            return {stream: logs[stream] | {"files": files[stream]} for stream in STREAMS}
        if self.lines or self.convert:
            return {"table": logs["table"] | {"files": str(folder / "rows.csv")}}
        return logs

    def describe(self, folder: Path) -> dict[str, Any]:
        """What its rows depend on, without paths, so that results can be moved."""
        config = self.config(folder)
        split = config.preprocess.split.model_dump(mode="json", exclude_none=True)
        split["eval"].pop("files", None)
        found = {"spec": config.spec.fingerprint, "lines": self.lines} | flat("split", split)
        if config.simulate:
            found |= flat("simulate", config.simulate.model_dump(mode="json", exclude={"out"}))
        return found

    def missing(self, public: Path) -> str | None:
        """Why the set cannot be prepared on this machine, or None."""
        if self.public:
            folder = public / self.public
            return None if folder.exists() else f"{folder} is absent; see --public"
        if "simulate" in self.sections:
            return None
        base = load(EXAMPLES / f"{self.example}.toml").sections
        for file in (base.logs["table"]["files"], base.split["eval"]["files"]):
            if not Path(file).exists():
                return f"{file} is absent"
        return None

    def make(self, folder: Path, public: Path) -> Path:
        """The preprocessed directory, made unless it exists with the same declarations."""
        config, made = self.config(folder), folder / "made.json"
        content = json.dumps(self.describe(folder) | {"version": VERSION}, indent=1, sort_keys=True)
        if made.exists() and made.read_text() == content:
            return config.data
        made.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if config.simulate:
            simulate(config.simulate, config.logs, overwrite=config.logs.exists())
        elif self.convert and self.public:
            self.convert(public / self.public, folder / "rows.csv")
        elif self.lines:
            _first_lines(load(EXAMPLES / f"{self.example}.toml"), folder / "rows.csv", self.lines)
        preprocess(config.preprocess, config.data)
        files.write_text(made, content)
        return config.data


def _of_dim(feature: dict[str, Any]) -> dict[str, Any]:
    return feature if feature["kind"] == "numeric" else feature | {"dim": DIM}


def _machine_free() -> dict[str, Any]:
    """Fixed precision and XLA: otherwise the machine decides. They are not studied here."""
    return load(EXAMPLES / "demo.toml", ["train={}", *SAME_NUMBERS]).sections.train


def _first_lines(example: Config, out: Path, lines: int) -> None:
    source = Path(example.sections.logs["table"]["files"])
    with gzip.open(source, "rt") as file:
        kept = list(islice((line for line in file if line.strip()), lines))
    if len(kept) < lines:
        raise FunnelError(f"{source}: has {len(kept)} lines, fewer than {lines}; take fewer")
    out.write_text("".join(kept))
