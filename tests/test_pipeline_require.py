"""[output] require: kinds of warnings that are errors."""

import json

import pytest
import tomli_w
from pipeline_logs import write_jsonl

from features.errors import FunnelError
from funnel.cli.main import main
from funnel.listener import Listener, reporting_to
from funnel.stages.train import repeat_warnings
from pipeline.output.require import Require, Warned, check_required

KINDS = list(Require.model_fields)
START = 1_780_272_000  # 2026-06-01T00:00:00Z
DAY = 86_400


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_is_required(kind):
    warnings = [Warned(f"labels.{other}: is so", (other,)) for other in KINDS]
    check_required(Require(), warnings)
    with pytest.raises(FunnelError) as raised:
        check_required(Require.parse({kind: True}), warnings)
    assert str(raised.value) == (
        f"output.require.{kind} fails, so nothing is published: labels.{kind}: is so; or set "
        f"output.require.{kind} = false"
    )
    others = [one for one in warnings if one.kinds != (kind,)]
    check_required(Require.parse({kind: True}), others)


def test_all_that_fail_are_named():
    required = Require(equals=True, eval_positives=True, own_buckets=True)
    warnings = [
        Warned("labels.like: a", ("positives", "equals")),
        Warned("tasks.like: b", ("eval_positives",)),
        Warned("features.x.buckets = 9: c", ("own_buckets",)),
        Warned("labels.buy: d", ("negatives",)),
    ]
    with pytest.raises(FunnelError, match=r"2 more: eval_positives \(tasks\.like\), own_b"):
        check_required(required, warnings)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: my.toml, with logs of two days of which each kind of warning speaks
    that does not exclude another.
    """
    monkeypatch.chdir(tmp_path)
    rows = []
    for n in range(400):
        late = n >= 200
        liked = n % 50 == 0 if late else n % 2 == 0
        rows.append(
            {
                "id": f"i{n}",
                "ts": START + n % 200 * 60 + 0.5 + late * DAY,
                "liked": "yes" if liked else "no",
                "shared": "no",
                "copy": "y" if liked else "n",
                "shop": f"s{n % 2}",
            }
        )
    rows[0]["ts"] = START + 900 * DAY
    write_jsonl(tmp_path / "impressions.jsonl", rows)
    clicks = [{"id": f"i{n}", "ts": START + n * 60 + (0 if n % 3 else 9)} for n in range(1, 80)]
    write_jsonl(tmp_path / "clicks.jsonl", clicks)
    write_jsonl(tmp_path / "buys.jsonl", [{"id": "nobody", "ts": START + 5}])
    (tmp_path / "shops.txt").write_text("t1\nt2\n")
    stream = {"id": "id", "time": "ts"}
    files = {"impressions": "impressions.jsonl", "clicks": "clicks.jsonl", "buys": "buys.jsonl"}
    sections = {
        "run": "run",
        "logs": {name: stream | {"files": file} for name, file in files.items()},
        "labels": {
            "click": {"event": "clicks", "within": "30m"},
            "buy": {"event": "buys", "within": "1m", "after": "click"},
            "like": {"column": "liked", "equals": "yes"},
            "share": {"column": "shared", "equals": "yes"},
            "seen": {"column": "shared", "equals": "no"},
        },
        "features": {
            "copy": {"kind": "categorical", "buckets": 2},
            "leak": {"kind": "categorical", "column": "copy", "buckets": 50},
            "shop": {"kind": "categorical", "vocabulary": "shops.txt"},
        },
        "tasks": {
            "click": {"label": "click"},
            "buy": {"label": "buy", "given": "click"},
            "share": {"label": "share"},
            "seen": {"label": "seen", "given": "share"},
        },
        "split": {"eval": {"fraction": 0.05}},
    }
    (tmp_path / "my.toml").write_text(tomli_w.dumps(sections))
    return tmp_path


def test_every_kind_of_warning_is_in_the_manifest_and_may_be_an_error(folder, capsys):
    assert main(["preprocess", "my.toml"]) == 0
    out = capsys.readouterr().out
    manifest = json.loads((folder / "run/data/manifest.json").read_text())
    assert len(manifest["warnings"]) == len(manifest["warning_kinds"])
    assert {kind for kinds in manifest["warning_kinds"] for kind in kinds} == set(KINDS)
    assert all(f"warning: {line}\n" in out for line in manifest["warnings"])
    for kind in ("positives", "no_leaks"):
        assert main(["preprocess", "my.toml", "--set", f"output.require.{kind}=true"]) == 2
        assert f"error: output.require.{kind} fails, so nothing is " in capsys.readouterr().err
    assert json.loads((folder / "run/data/manifest.json").read_text()) == manifest
    assert not [path for path in (folder / "run").iterdir() if "unfinished" in path.name]


def test_an_unknown_kind_is_refused_by_name(folder, capsys):
    assert main(["preprocess", "my.toml", "--set", "output.require.positive=true"]) == 2
    error = capsys.readouterr().err
    assert "output.require: unknown key 'positive'" in error
    assert "'positives'" in error
    assert not (folder / "run" / "data").exists()


def test_a_training_names_the_warnings_of_its_data_once(tmp_path):
    heard = []

    class Heard(Listener):
        def warn(self, line):
            heard.append(line)

    lines = ["labels.a: x", "labels.a: y", "features.f alone predicts: z"]
    kinds = [["positives", "equals"], ["steady_rates"], ["no_leaks"]]
    with reporting_to(Heard()):
        repeat_warnings({"warnings": lines, "warning_kinds": kinds}, tmp_path)
        repeat_warnings({"warnings": lines[:1]}, tmp_path)  # of an earlier version
        repeat_warnings({"warnings": [], "warning_kinds": []}, tmp_path)
        repeat_warnings({}, tmp_path)
    end = f"; `funnel inspect {tmp_path}` shows them"
    assert heard == [
        "the data were written with 3 warnings: labels.a (positives, equals, steady_rates), "
        f"features.f (no_leaks){end}",
        f"the data were written with 1 warning: labels.a{end}",
    ]
