"""What all stages write by, with a fault at every system call: staged directories, replaced files
and locks; and in which order they reach the disk.
"""

import errno
import sys

import pytest
from faults import Faults, unsafe
from system_calls import Process

from features.errors import FunnelError
from features.files import discard, staging, write_text
from features.locks import locked


def work(folder: str) -> int:
    """Replaces a directory and a file, and removes a directory, under a lock."""
    from pathlib import Path

    root = Path(folder) / "run"
    try:
        with locked(root / ".lock-a", "a"):
            with staging(root / "data") as beside:
                (beside / "train").mkdir()
                (beside / "train" / "part").write_text("rows")
                (beside / "spec.json").write_text("{}")
            write_text(root / "summary.json", '{"a": 1}')
            discard(root / "model")
    except FunnelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def whole(before, now, after):
    for name in ("data", "model", "summary.json"):
        found, *known = (
            {path: value for path, value in some.items() if path.split("/")[0] == name}
            for some in (now, before, after)
        )
        assert found in [*known, {}], f"{name}: {sorted(found)}"


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name in ("data/train/part", "data/old", "model/checkpoints/a", "model/model.json"):
        path = folder / "before" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"old"')
    (folder / "before" / "summary.json").write_text("{}")
    with Process("test_faults_files:work", folder / "run", forks=True) as process:
        yield Faults(process, [str(folder)], folder / "before", whole)


@pytest.mark.parametrize(
    ("by", "least"), [(0, 50), (errno.ENOSPC, 25), (errno.EIO, 50), (errno.EACCES, 35)]
)
def test_every_call_leaves_all_whole(faults, by, least):
    assert faults.every_call_fails(by) >= least


def test_what_is_renamed_is_on_the_disk_before_and_its_name_after(faults):
    assert unsafe(faults.calls) == []
