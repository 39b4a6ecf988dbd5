"""Nothing that the project reads may run code: no module of it deserializes objects."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "pipeline", "model", "funnel", "benchmarks")
MODULES = {
    "_pickle",
    "cloudpickle",
    "dill",
    "h5py",
    "joblib",
    "marshal",
    "pickle",
    "shelve",
    "yaml",
}
CALLS = {
    "read_pickle",
    "load_pickle",
    "load_model",
    "load_weights",
    "model_from_json",
    "enable_unsafe_deserialization",
    "py_function",
    "eval",
    "exec",
}


def unsafe(source):
    """The lines that import a module that deserializes objects, or call a function that does."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        else:
            names = set()
        if names & MODULES:
            found.append(node.lineno)
        if isinstance(node, ast.Call) and not _is_safe(node):
            found.append(node.lineno)
    return found


def _is_safe(call):
    if isinstance(call.func, ast.Name):
        return call.func.id not in CALLS
    if not isinstance(call.func, ast.Attribute):
        return True
    owner = call.func.value
    if call.func.attr == "load" and isinstance(owner, ast.Name) and owner.id in ("np", "numpy"):
        return any(
            keyword.arg == "allow_pickle"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is False
            for keyword in call.keywords
        )
    return call.func.attr not in CALLS


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_deserializes_objects(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert [(str(f), line) for f in files for line in unsafe(f.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import numpy as np\nnp.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=given)",
        "keras.saving.load_model(path)",
        "pd.read_pickle(path)",
        "eval(text)",
        "import yaml",
    ],
)
def test_an_unsafe_line_is_found(source):
    assert unsafe(source)


def test_a_safe_line_is_not():
    assert not unsafe("np.load(file, allow_pickle=False)\njson.loads(text)\nmodel.evaluate()")
