"""model.json: identifies a run's checkpoints and refuses to mix two runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.files import make_directory, replacing, write_text
from features.fitted import Fitted
from model.estimator.checkpoint_files import listed


class ModelJson:
    """model.json of a model directory, and the raw rows beside it that exports are checked with.

    A directory without a checkpoint binds nothing.
    """

    def __init__(self, model_dir: Path) -> None:
        self.model_dir, self.path = model_dir, model_dir / "model.json"
        self.sample = model_dir / "sample.parquet"

    def read(self) -> dict[str, Any] | None:
        """The file's content; None without checkpoints. Raises FunnelError where it is cut off."""
        if not self.path.exists() or not listed(self.model_dir / "checkpoints"):
            return None
        try:
            return json.loads(self.path.read_text())
        except ValueError as error:
            raise FunnelError(
                f"{self.path}: is not JSON ({error}); put back a copy of it, "
                "or train from scratch with --force"
            ) from None

    def fitted(self, identity: Mapping[str, Any]) -> Fitted | None:
        """The statistics that the checkpoints were trained with; None without checkpoints.

        Raises:
            FunnelError: the checkpoints belong to another spec or model than `identity`.
        """
        known = self.read()
        if known is None:
            return None
        self._compare(known, identity)
        return Fitted.parse(known["fitted"], str(self.path))

    def seed(self) -> int | None:
        """The seed of the checkpoints' initial values; None without checkpoints."""
        known = self.read()
        return None if known is None else known["train"]["seed"]

    def check_resumable(self, settings: Mapping[str, Any], mode: Mapping[str, Any]) -> None:
        """Raises FunnelError when the checkpoints were trained with other settings or in another
        mode. To resume would mix two trainings.

        Args:
            settings: RankingConfig.training_settings.
            mode: the precision and xla that this machine trains with.
        """
        known = self.read()
        if known is None:
            return
        self._compare(known, settings)
        old = known["mode"]
        if old != mode:
            raise FunnelError(
                f"{self.model_dir}: its checkpoints were trained with {_toml(old)}, and this "
                f"machine would resume with {_toml(mode)}: set {_toml(old)}, or train from scratch "
                "with --force"
            )

    def write(self, content: Mapping[str, Any], sample: Path | None) -> None:
        """Writes the file unless it has that content already, and copies the sample."""
        make_directory(self.model_dir)
        text = json.dumps(content, indent=1) + "\n"
        if not self.path.exists() or self.path.read_text() != text:
            write_text(self.path, text)
        if sample is not None and sample.exists() and sample != self.sample:
            with replacing(self.sample) as temporary:
                shutil.copyfile(sample, temporary)

    def checked_sample(self, configured: Path | None) -> Path:
        """The raw rows that an export is checked with: those of the configuration where they exist,
        else those beside the file. Raises FunnelError without either.
        """
        found = next((p for p in (configured, self.sample) if p is not None and p.exists()), None)
        if found is None:
            raise FunnelError(
                f"{self.sample}: is missing, the raw rows that an export is checked with; copy "
                "sample.parquet of the preprocessed directory there, or train again"
            )
        return found

    def _compare(self, known: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
        for part, value in mine.items():
            # As text, since order counts: another order of features or tasks moves rows and columns
            # between equal shapes.
            if json.dumps(known[part]) != json.dumps(value):
                raise FunnelError(
                    f"{self.model_dir}: its checkpoints belong to another {part}: "
                    f"{_difference(known[part], value)}; train from scratch with --force, "
                    "or give another run directory"
                )


def _toml(mode: Mapping[str, Any]) -> str:
    """As a configuration sets it."""
    return " and ".join(f"train.{name} = {json.dumps(value)}" for name, value in mode.items())


def _difference(known: object, mine: object, path: str = "") -> str:
    """The first key at which two nested dictionaries differ, in values or else in order."""
    if isinstance(known, dict) and isinstance(mine, dict):
        for key in [*known, *mine]:
            if known.get(key) != mine.get(key):
                return _difference(known.get(key), mine.get(key), f"{path}.{key}".lstrip("."))
        for key in known:
            if json.dumps(known[key]) != json.dumps(mine[key]):
                return _difference(known[key], mine[key], f"{path}.{key}".lstrip("."))
        return f"order of {path} was {', '.join(known)} and is {', '.join(mine)}"
    return f"{path or 'value'} was {known!r} and is {mine!r}"
