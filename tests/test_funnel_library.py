"""import funnel: what it exports, what it does not import, and what its functions refuse."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import funnel

ROOT = Path(__file__).parents[1]
HEAVY = {"tensorflow", "keras", "apache_beam", "pyarrow", "pydantic", "numpy", "rich"}


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_importing_it_imports_nothing_heavy():
    code = "import sys, funnel; print(*{name.split('.')[0] for name in sys.modules})"
    done = python(code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "funnel" in loaded
    assert loaded & HEAVY == set()


def test_every_exported_name_is_what_type_checkers_see():
    tree = ast.parse((ROOT / "funnel/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(funnel.__all__) == sorted([*imported, "__version__"])
    assert imported == funnel._MODULES
    for name in funnel.__all__:
        found = getattr(funnel, name)
        assert getattr(found, "__name__", name) == name
    assert set(funnel.__all__) <= set(dir(funnel))


def test_no_name_hides_a_module():
    modules = {path.stem for path in (ROOT / "funnel").iterdir()}
    assert modules & set(funnel.__all__) == set()


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(AttributeError, match=r"has no attribute 'MMOE': did you mean 'MMoE'\?"):
        _ = funnel.MMOE
    with pytest.raises(ImportError, match="cannot import name 'scores'"):
        exec("from funnel import scores", {})


def test_without_tensorflow_a_layer_says_what_to_install():
    code = "import sys; sys.modules['tensorflow'] = None; import funnel; funnel.MMoE"
    done = python(code)
    assert done.returncode == 1
    assert "ImportError: funnel.MMoE needs tensorflow, which is not installed" in done.stderr


def test_the_version_is_the_one_of_its_file():
    assert f'__version__ = "{funnel.__version__}"' in (ROOT / "funnel/version.py").read_text()


LOAD = """
import sys
import {first}
import {second}
model = keras.saving.load_model(sys.argv[1])
print([type(layer).__module__ for layer in model.layers if type(layer).__name__ == "PLE"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", [("funnel", "keras"), ("keras", "funnel")])
def test_keras_finds_saved_layers_after_import_funnel_alone(tmp_path, order):
    import keras

    x = keras.Input([4])
    shared = funnel.PLE({"expert_units": [3], "levels": 1}, ["a", "b"])(x)
    keras.Model(x, shared).save(tmp_path / "m.keras")
    done = python(LOAD.format(first=order[0], second=order[1]), tmp_path / "m.keras")
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.strip() == "['model.sharing.ple']"


def test_every_registered_class_has_an_exported_name():
    import keras

    import model.ranking  # noqa: F401  (all layers)

    for name in funnel.__all__:
        getattr(funnel, name)
    registered = keras.saving.get_custom_objects()
    ours = {name.removeprefix("funnel>"): c for name, c in registered.items() if "funnel>" in name}
    assert set(ours) == {name for names in funnel._LAYERS.values() for name in names}
    assert all(ours[name] is getattr(funnel, name) for name in ours)


def test_a_placeholder_makes_the_layer():
    from funnel.keras_names import _placeholder

    made = _placeholder("MLP").from_config({"units": [3], "name": "mine"})
    assert (type(made), made.units, made.name) == (funnel.MLP, [3], "mine")


CONFIG = {
    "run": "runs/mine",
    "logs": {"table": {"files": "people.csv", "id": "id"}},
    "labels": {"rich": {"column": "rich"}},
    "features": {"age": {"kind": "numeric"}},
    "split": {"eval": {"fraction": 0.2}},
    "tasks": {"rich": {"label": "rich"}},
    "train": {"epochs": 1},
}


def test_a_configuration_from_a_dict_with_overrides():
    changes = {"train.epochs": 2.0, "model.sharing": "ple", "run": Path("runs/yours")}
    config = funnel.load_config(CONFIG, changes)
    assert (config.run, config.train.epochs) == (Path("runs/yours"), 2.0)
    assert config.model.sharing.name == "ple"
    assert CONFIG["train"] == {"epochs": 1}
    assert funnel.load_config(CONFIG, ["train.epochs=3"]).train.epochs == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: funnel.load_config("none.toml"), "none.toml: cannot be read"),
        (lambda: funnel.preprocess("none.toml"), "none.toml: cannot be read"),
        (lambda: funnel.load_config({"tasks": {}}), "run is missing: .* give run = 'runs/mine'"),
        (lambda: funnel.load_config(CONFIG | {"task": 1}), "unknown key 'task': did you mean 'tas"),
        (
            lambda: funnel.load_config(CONFIG, {"trian": 1}),
            r"overrides\['trian'\]: unknown section 'trian': did you mean 'train'\?",
        ),
        (
            lambda: funnel.load_config(CONFIG, {"run.x": 1}),
            r"overrides\['run.x'\]: run is 'runs/mi",
        ),
        (lambda: funnel.simulate(CONFIG), r"has no \[simulate\] section"),
        (lambda: funnel.preprocess(CONFIG), "logs.table.files = 'people.csv': no file matches"),
        (lambda: funnel.train(CONFIG), "runs/mine/data: is not a preprocessed directory"),
        (lambda: funnel.evaluate(CONFIG), "run `funnel preprocess` first"),
        (lambda: funnel.export(CONFIG), "runs/mine/model: holds no checkpoint; run `funnel train`"),
        (lambda: funnel.report(CONFIG), "runs/mine: has no evaluation to report; run `funnel eval"),
        (lambda: funnel.score(CONFIG, {"age": [1]}), "holds no checkpoint; run `funnel train` fir"),
        (lambda: funnel.Dataset("runs/mine/data"), "is not a preprocessed directory"),
    ],
)
def test_what_the_user_can_fix(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(funnel.FunnelError, match=message):
        call()


def test_only_worker_0_evaluates(monkeypatch):
    task = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    with pytest.raises(funnel.FunnelError, match="evaluate: TF_CONFIG makes this process worker 1"):
        funnel.evaluate(CONFIG)


def test_a_report_names_the_file_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/summary.json").write_text('{"evaluation": {}}')
    with pytest.raises(funnel.FunnelError, match=r"runs/mine/data/manifest\.json: is missing"):
        funnel.report(CONFIG)


def test_stages_report_to_the_logger_unless_a_command_listens(caplog, capsys):
    from funnel.cli.terminal import Terminal
    from funnel.listener import listener, reporting_to
    from funnel.stages.stage import inform, warn

    caplog.set_level("INFO", logger="funnel")
    warn("look")
    with listener().progress("reading", "files") as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "")
    with reporting_to(Terminal()):
        inform("note")
    inform("more")
    assert capsys.readouterr().out == "· note\n"
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "look"),
        ("INFO", "more"),
    ]
