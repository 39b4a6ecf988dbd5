"""Every library that a package imports is declared in setup.py, in an extra that the package needs;
requirements.txt has an exact version of each, with hashes.
"""

import re
import runpy
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_imports import GRAPH, MAY_IMPORT

from funnel import extras
from funnel.cli.main import main

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {  # module: the distribution that brings it, where they differ
    "apache_beam": "apache-beam",
    "farmhash": "pyfarmhash",
    "google": "protobuf",
    "google_crc32c": "google-crc32c",
    "sklearn": "scikit-learn",
    "tensorflow_metadata": "tensorflow-metadata",
    "tfx_bsl": "tfx-bsl",
    "tomli_w": "tomli-w",
}
NEEDS = {  # the extras of each package, beside install_requires
    "features": {"train"},  # TensorFlow in features/graph* alone: tests/test_imports.py
    "pipeline": {"pipeline", "s3", "gcs"},
    "model": {"train"},
    "funnel": {"pipeline", "train", "inspect", "report"},
}
NOT_DECLARED = {
    *("c_api", "inputs", "isolation", "python_loaders"),  # files of model/serving/loaders
    "tensorflow_io",  # requirements-tfio.txt
}
LOCK = (ROOT / "requirements.txt").read_text()


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


@pytest.fixture(scope="module")
def declared():
    """What setup.py passes to setuptools.setup."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_what_a_package_imports_is_declared(declared, package):
    found = {
        name.split(".")[0]
        for module, imports in GRAPH.items()
        if module.split(".")[0] == package
        for name in imports
    }
    libraries = found - sys.stdlib_module_names - MAY_IMPORT.keys() - NOT_DECLARED
    extras = (declared["extras_require"][extra] for extra in NEEDS[package])
    known = names(declared["install_requires"]).union(*map(names, extras))
    assert {DISTRIBUTIONS.get(name, name) for name in libraries} - known == set()


def installed_with(requirements):
    """The distributions that the requirements bring, directly and through others."""
    found, left = {}, [Requirement(requirement) for requirement in requirements]
    seen = set()
    while left:
        requirement = left.pop()
        found[canonicalize_name(requirement.name)] = distribution(requirement.name)
        for extra in {"", *requirement.extras}:
            if (requirement.name, extra) not in seen:
                seen.add((requirement.name, extra))
                further = map(Requirement, requires(requirement.name) or [])
                left += [r for r in further if not r.marker or r.marker.evaluate({"extra": extra})]
    return found


def test_a_worker_of_a_beam_job_has_no_tensorflow_and_less_than_600_mb(declared):
    pipeline = declared["install_requires"] + declared["extras_require"]["pipeline"]
    found = installed_with(pipeline)
    assert {"apache-beam", "grpcio", "numpy", "pyarrow", "pyfarmhash", "requests"} <= found.keys()
    assert found.keys().isdisjoint({"tensorflow", "keras", "tfx-bsl", "google-cloud-storage"})
    paths = {file.locate() for brought in found.values() for file in brought.files or []}
    megabytes = sum(path.stat().st_size for path in paths if path.exists()) / 1e6
    assert 300 < megabytes < 600


def test_requirements_pin_everything_declared_with_hashes(declared):
    entries = re.split(r"\n(?=[a-z])", LOCK.partition("\n")[2])
    pinned = {re.match(r"[\w.-]+(?===)", entry)[0] for entry in entries}
    wanted = names(declared["install_requires"]).union(
        *map(names, declared["extras_require"].values())
    )
    assert wanted - {"funnel"} - pinned == set()
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCK


def test_a_missing_library_names_the_extra_that_brings_it(declared, monkeypatch, capsys):
    for module, extra in extras.EXTRAS.items():
        brought = names(declared["extras_require"][extra])
        assert DISTRIBUTIONS.get(module, module) in brought
    assert extras.remedy(ModuleNotFoundError(name="numpy")) is None

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert main(["experiment", "census"]) == 2
    message = capsys.readouterr().err
    assert "error: tensorflow is not installed; run pip install 'funnel[train]'" in message


def test_beam_without_its_google_clients_is_imported_in_silence():
    code = "import sys; sys.modules['apitools'] = None; import pipeline.job"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
