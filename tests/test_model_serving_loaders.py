"""The process of loaders: what it may import, what it answers, how it ends; and the C API on
literal values.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from features.errors import FunnelError
from model.serving import check
from model.serving.loaders import c_api

LOADERS = Path(check.PROCESS)
TEXTS = [
    "",
    "a",
    "x" * 22,
    "x" * 23,
    "x" * 24,
    "日本語" * 9,
    "nul\0inside",
    "\U0001f600",
]  # 22 bytes fit into a TF_TString itself
NUMBERS = [0, 1, -1, 2**63 - 1, -(2**63), 7, 8, 9]
REALS = [0.0, -0.0, 1.5, float("nan"), float("inf"), -1e-38, 3e38, 2.0]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """A SavedModel whose signature gives the lengths of texts in bytes, integers and numbers back,
    and a sum with a variable.
    """
    root = tf.Module()
    root.variable = tf.Variable([[1.0], [2.0]])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None, None], tf.string, name="texts"),
            tf.TensorSpec([None], tf.int64, name="number"),
            tf.TensorSpec([None], tf.float32, name="real"),
        ]
    )
    def echo(text, texts, number, real):
        hashed = tf.strings.to_hash_bucket_fast(text, 2**31)
        lengths = tf.strings.length(texts)
        return {
            "hashed": hashed,
            "lengths": lengths,
            "number": number,
            "real": real,
            "two": root.variable * real[-1],
        }

    path = tmp_path_factory.mktemp("echo") / "1"
    tf.saved_model.save(root, str(path), signatures={"echo": echo})
    return path


def texts(values):
    return np.array(values, object)


def given():
    encoded = [text.encode() for text in TEXTS]
    pairs = [[text, b"\xff\xfe" if n else b""] for n, text in enumerate(encoded)]
    return {
        "text": texts(encoded),
        "texts": texts(pairs),
        "number": np.array(NUMBERS),
        "real": np.array(REALS, np.float32),
    }


def test_the_c_api_carries_every_value(echo):
    with c_api.Model(str(echo)) as model:
        found = model.run("echo", given())
    assert found["hashed"].tolist() == tf.strings.to_hash_bucket_fast(TEXTS, 2**31).numpy().tolist()
    assert found["lengths"].tolist() == [
        [len(text.encode()), 2 * (n > 0)] for n, text in enumerate(TEXTS)
    ]
    assert found["number"].tolist() == NUMBERS
    np.testing.assert_array_equal(found["real"], np.array(REALS, np.float32))
    assert found["two"].tolist() == [[2.0], [4.0]]  # [1, 2] · 2
    assert {name: values.dtype for name, values in found.items()} == {
        "hashed": np.int64,
        "lengths": np.int32,
        "number": np.int64,
        "real": np.float32,
        "two": np.float32,
    }


def test_a_request_of_no_rows(echo):
    with c_api.Model(str(echo)) as model:
        empty = {name: values[:0] for name, values in given().items()} | {
            "real": np.array([1.0], np.float32)
        }
        found = model.run("echo", empty)
        assert (found["hashed"].shape, found["lengths"].shape) == ((0,), (0, 2))


def test_other_inputs_than_the_signatures_are_refused(echo):
    with c_api.Model(str(echo)) as model:
        with pytest.raises(
            RuntimeError,
            match=r"echo takes \['number', 'real', 'text', 'texts'\], the request has \['text'\]",
        ):
            model.run("echo", {"text": texts([b"a"])})
        with pytest.raises(RuntimeError, match=r"int64.*float|float.*int64"):
            model.run("echo", given() | {"number": np.array([1.0], np.float32)})
        assert (
            model.run("echo", given())["number"].tolist() == NUMBERS
        )  # an error leaves it as it was


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(RuntimeError, match=f"Could not find SavedModel .* {tmp_path}"):
        c_api.Model(str(tmp_path))


@pytest.mark.parametrize("lacking", ["library", "function"])
def test_a_build_without_the_c_library(monkeypatch, lacking):
    if lacking == "library":
        monkeypatch.setattr(c_api.glob, "glob", lambda pattern: [])
        said = r"tensorflow holds no libtensorflow_cc"
    else:
        monkeypatch.setitem(c_api._PROTOTYPES, "TF_Nothing", (None, []))
        said = r"libtensorflow_cc\S+ has no function TF_Nothing"
    with pytest.raises(c_api.Absent, match=said):
        c_api.library()


def isolated(code, *arguments):
    code = f"import sys; sys.path.insert(0, {str(LOADERS)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        "features",
        "features.spec",
        "model.ranking",
        "pipeline",
        "funnel.cli.main",
        "keras",
        "tf_keras",
    ],
)
def test_the_process_can_import_neither_the_project_nor_keras(name):
    done = isolated(f"import isolation; isolation.block_imports()\nimport {name}")
    top, below = name.split(".")[0], ".".join(name.split(".")[:2])
    assert (
        f"import of {top} halted" in done.stderr
        or f"No module named '{below}'; '{top}' is not a package" in done.stderr
    )
    if name not in (
        "keras",
        "tf_keras",
        "model.ranking",
    ):  # which take seconds, and tf_keras is not installed
        assert isolated(f"import {name}").returncode == 0


@pytest.fixture
def answered(echo):
    """What the process answers for the model of `echo`."""
    inputs = {"text": ["string", TEXTS], "texts": ["string", [[t, ""] for t in TEXTS]]}
    inputs |= {"number": ["int64", NUMBERS], "real": ["float32", REALS]}
    return check.ask_loaders(
        echo,
        {
            "echo": {
                name: {"dtype": dtype, "values": values} for name, (dtype, values) in inputs.items()
            }
        },
    )


def test_three_loaders_answer_alike(answered):
    started, *answers = answered
    assert started["tensorflow"] == tf.__version__
    assert (
        [answer["loader"] for answer in answers]
        == list(check.LOADERS)
        == ["c_api", "session", "python"]
    )
    for answer in answers:
        assert answer["scores"]["echo"]["number"] == NUMBERS
        assert (
            answer["scores"]["echo"]["hashed"]
            == tf.strings.to_hash_bucket_fast(TEXTS, 2**31).numpy().tolist()
        )


def process(tmp_path, monkeypatch, code):
    """Has the check run another program than the loaders'."""
    (tmp_path / "loaders").mkdir()
    (tmp_path / "loaders/__main__.py").write_text(code)
    monkeypatch.setattr(check, "PROCESS", tmp_path / "loaders")


STARTED = """print('{"tensorflow": "2", "seconds": 1}', flush=True)\n"""
ABSENT = """print('{"loader": "c_api", "absent": "no"}', flush=True)\n"""
ENDS = {  # the process' program, and what is said of its end
    "in the first loader": (
        STARTED + "import os, sys\nprint('cause', file=sys.stderr, flush=True)\nos.abort()",
        r"TensorFlow's C API fails, so it is not published:\nits process ended with -6\ncause",
    ),
    "in the second": (
        STARTED + ABSENT + "raise SystemExit(3)",
        r"the v1 loader with session.run fails, so it is not published:\nits process ended with 3",
    ),
    "at its start": (
        "raise SystemExit('no TensorFlow')",
        r"cannot be checked in a fresh process, so it is not published:\nits process ended with "
        r"1\nno TensorFlow",
    ),
}


@pytest.mark.parametrize("where", ENDS)
def test_the_loader_whose_process_crashes_is_named(tmp_path, monkeypatch, where):
    program, said = ENDS[where]
    process(tmp_path, monkeypatch, program)
    with pytest.raises(FunnelError, match=said):
        check.check_loaders(tmp_path, {}, {"p_ctr": np.zeros(1)})


def test_where_the_c_library_is_absent_the_check_says_so(tmp_path, monkeypatch):
    scores = {"serving_default": {"p_ctr": [0.25]}}
    lines = [
        {"tensorflow": "2", "seconds": 1.0},
        {"loader": "c_api", "absent": "no libtensorflow_cc"},
    ]
    lines += [{"loader": name, "scores": scores, "seconds": 1.0} for name in ("session", "python")]
    process(tmp_path, monkeypatch, f"print({chr(10).join(map(json.dumps, lines))!r})")
    summary = check.check_loaders(tmp_path, {}, {"p_ctr": np.array([0.25])}).summary()
    assert summary["loaders"]["c_api"] == {"not_run": "no libtensorflow_cc"}
    assert summary["loaders"]["session"] == {"max_abs_difference": 0.0, "seconds": 1.0}


@pytest.mark.slow
def test_the_process_itself_says_that_the_c_library_is_absent(echo, tmp_path, monkeypatch):
    shutil.copytree(LOADERS, tmp_path / "loaders")
    source = tmp_path / "loaders/c_api.py"
    source.write_text(source.read_text().replace("libtensorflow_cc.*", "libtensorflow_elsewhere.*"))
    monkeypatch.setattr(check, "PROCESS", tmp_path / "loaders")
    inputs = {
        "text": ["string", ["a"]],
        "texts": ["string", [["a"]]],
        "number": ["int64", [1]],
        "real": ["float32", [2.0]],
    }
    answers = check.ask_loaders(
        echo, {"echo": {name: {"dtype": d, "values": v} for name, (d, v) in inputs.items()}}
    )
    assert "holds no libtensorflow_cc" in answers[1]["absent"]
    assert answers[2]["scores"]["echo"]["number"] == answers[3]["scores"]["echo"]["number"] == [1]


ASK = """
import sys
from pathlib import Path
from model.serving import check
check.PROCESS = Path(sys.argv[1])
check.ask_loaders(Path("nowhere"), {})
"""


def children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs /proc to find a process' children"
)
def test_the_process_ends_with_a_parent_that_is_killed_and_leaves_nothing(tmp_path):
    shutil.copytree(LOADERS, tmp_path / "loaders")
    with (tmp_path / "loaders/c_api.py").open("a") as source:  # a model that takes its time
        source.write(
            f"\n\ndef library():\n    open({str(tmp_path / 'begun')!r}, 'w').close()\n    "
            "__import__('time').sleep(600)\n"
        )
    (tmp_path / "temporary").mkdir()
    env = os.environ | {
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", ASK, str(tmp_path / "loaders")], env=env, stderr=subprocess.DEVNULL
    )
    try:
        until((tmp_path / "begun").exists)
        (child,) = children(parent.pid)
        assert alive(child)
        parent.kill()
        parent.wait()
        until(lambda: not alive(child), 60)
        assert list((tmp_path / "temporary").iterdir()) == []
    finally:
        parent.kill()
