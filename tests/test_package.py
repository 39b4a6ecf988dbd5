"""The wheel and the sdist: what they hold; an installed wheel runs without the checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from funnel.version import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "pipeline", "model", "funnel")
LEFT_OUT = ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "docs")

pytestmark = pytest.mark.slow

CONFIG = """
run = "run"

[simulate]
out = "logs"
impressions = 3000
users = 100
items = 50
days = 4
cvr = 0.3

[logs]
impressions = { files = "logs/impressions/*/*", id = "impression_id", time = "ts" }
clicks = { files = "logs/clicks/*/*", id = "impression_id", time = "ts" }
conversions = { files = "logs/conversions/*/*", id = "impression_id", time = "ts" }

[labels]
click = { event = "clicks", within = "30m" }
convert = { event = "conversions", within = "1d", after = "click" }

[features]
user_id = { kind = "categorical", buckets = 200, dim = 4 }
price = { kind = "numeric", transform = "log1p" }

[split]
eval = { last = "1d" }

[tasks]
ctr = { label = "click" }
cvr = { label = "convert", given = "click" }

[model]
sharing = { name = "shared_bottom", units = [4] }
funnel = { name = "esmm", tower_units = [4] }

[train]
batch_size = 256
steps = 10
xla = false
precision = "float32"
"""


def run(*command, cwd):
    """The command's standard output; PYTHONPATH is dropped, so that nothing finds the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "source",
        cwd=folder,
    )  # fmt: skip
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of an environment that has the wheel, and beside it only what this one has from
    other projects.
    """
    folder = tmp_path_factory.mktemp("installed") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=built)
    python = folder / "bin/python"
    (wheel,) = built.glob("*.whl")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index",
        "--no-deps", wheel, cwd=built,
    )  # fmt: skip
    # Python reads .pth files of the environment's own folder only, so the editable install that
    # lies in the other folder is not found.
    own = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(own, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_has_every_module_example_and_template(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    suffixes = {".py", ".toml", ".html", ".typed"}
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*")}
    assert held == {str(path.relative_to(ROOT)) for path in files if path.suffix in suffixes}
    assert {"funnel/examples/ads.toml", "funnel/reports/templates/report.html"} <= held


def test_the_sdist_has_what_the_wheel_is_built_from_and_the_changes(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= held
    assert not any(name.startswith("tests") for name in held)


def test_metadata(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        read = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
        metadata = Parser().parsestr(archive.read(read["METADATA"]).decode())
        assert archive.read(read["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_installed_command_runs_without_the_checkout(installed, tmp_path):
    names = ", ".join(PACKAGES)
    code = f"import {names}; print(*(package.__path__[0] for package in ({names})))"
    found = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert {Path(path).parents[3] for path in found} == {installed.parent}

    assert "usage: funnel" in run(installed / "funnel", "--help", cwd=tmp_path)
    run(installed / "funnel", "init", cwd=tmp_path)
    assert list(tmp_path.glob("*.toml"))
    (tmp_path / "small.toml").write_text(CONFIG)
    run(installed / "funnel", "run", "small.toml", cwd=tmp_path)
    assert {"summary.json", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert list((tmp_path / "run/export").glob("*/saved_model.pb"))
