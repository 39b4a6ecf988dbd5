"""The import graph: packages import downwards, no module imports itself through others, no folder
holds more than 14 modules. Imports inside functions count, and so does "module:Class", by which a
registry names an entry.
"""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {  # and itself
    "features": set(),
    "pipeline": {"features"},
    "model": {"features"},
    "funnel": {"features", "pipeline", "model"},
}
NEVER = {
    "features": {"apache_beam", "tfx_bsl"},
    "pipeline": {"tensorflow", "keras"},
    "model": {"apache_beam", "tfx_bsl"},
}
AT_MOST = 14  # modules of a folder, besides __init__.py: twelve entries and what they share


def modules() -> dict[str, Path]:
    """{dotted name: file} of the four packages."""
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


MODULES = modules()


def imported(path: Path) -> set[str]:
    """What a file imports: modules of the four packages, of others the first name alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = names & MODULES.keys()
            found |= inner | ({node.module} if inner != names else set())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            late = re.fullmatch(r"([\w.]+):\w+", node.value)
            found |= {late[1]} & MODULES.keys() if late else set()
    return {name if name in MODULES else name.split(".")[0] for name in found}


GRAPH = {name: imported(path) for name, path in MODULES.items()}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The names of one cycle, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_module_imports_itself_through_others():
    assert cycle({name: found & MODULES.keys() for name, found in GRAPH.items()}) == []


def test_a_cycle_is_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_downwards(package):
    found = {
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if name.split(".")[0] == package
    }
    allowed = MAY_IMPORT[package] | {package}
    upwards = {pair for pair in found if pair[1].split(".")[0] in MAY_IMPORT.keys() - allowed}
    forbidden = {pair for pair in found if pair[1] in NEVER.get(package, set())}
    assert upwards | forbidden == set()


def test_of_features_the_graph_alone_imports_tensorflow():
    users = {
        name
        for name, found in GRAPH.items()
        if name.startswith("features") and found & {"tensorflow", "keras"}
    }
    assert users
    assert all(name.startswith("features.graph") for name in users)


def test_the_settings_import_only_features():
    found = {
        other
        for name, others in GRAPH.items()
        if name.startswith("model.settings")
        for other in others & MODULES.keys() | others & {"tensorflow", "keras"}
    }
    assert "features.settings" in found
    assert {f for f in found if not f.startswith(("features.", "model.settings."))} == set()


def test_a_registry_imports_its_entries():
    assert "model.sharing.ple" in GRAPH["model.sharing"]
    assert "model.optimizers.ftrl" in GRAPH["model.optimizers"]


def test_a_folder_holds_14_modules_at_most():
    folders = {path.parent for path in MODULES.values()}
    counts = {f.relative_to(ROOT).as_posix(): len(list(f.glob("*.py"))) - 1 for f in folders}
    assert {folder: n for folder, n in counts.items() if n > AT_MOST} == {}


def test_every_folder_says_what_it_is_for():
    silent = [
        name
        for name, path in MODULES.items()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


CODE = """
import sys, model.estimator.estimator, model.serving.export
loaded = {name.split(".")[0] for name in sys.modules}
found = loaded & {"apache_beam", "pipeline", "tfx_bsl", "funnel"}
sys.exit(f"imported: {sorted(found)}" if found else 0)
"""


def test_a_process_that_trains_loads_neither_beam_nor_the_pipeline():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
