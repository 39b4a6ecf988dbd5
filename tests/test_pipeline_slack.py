"""`slack` of an event stream in whole jobs: logs whose events were cut to seconds or dates."""

import numpy as np
import pytest
from pipeline_logs import make_config, read_examples, write_jsonl, write_logs

from pipeline.job import preprocess

T0 = 1_790_000_000
FEATURES = {"price": {"kind": "numeric"}}
END = {"id": "nobody", "ts": T0}
SPLIT = {"eval": {"fraction": 0.5}, "logs_end": "2027-01-01T00:00:00"}


def logs_of(**streams):
    """The streams of `make_config` in the current directory, with these keys besides."""
    return {
        name: {"files": f"{name}.jsonl", "id": "id", "time": "ts"} | streams.get(name, {})
        for name in ("impressions", "clicks", "conversions")
    }


def labels_of(folder, **streams):
    """(manifest, {id: (click, convert)}) with a slack."""
    manifest = preprocess(
        make_config(folder, features=FEATURES, split=SPLIT, logs=logs_of(**streams)),
        folder / "data",
    )
    rows = read_examples(folder / "data")
    return manifest, {id_: (row["click"], row["convert"]) for id_, row in rows.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_events_cut_to_whole_seconds_count_with_the_slack_that_the_warning_names(folder):
    times = [T0 + 7 * n + 0.25 for n in range(40)]
    write_logs(
        folder,
        [{"id": f"i{n}", "ts": time, "price": n} for n, time in enumerate(times)],
        [{"id": f"i{n}", "ts": int(time)} for n, time in enumerate(times) if n % 2],
        [{"id": f"i{n}", "ts": int(time)} for n, time in enumerate(times) if n % 4 == 1] + [END],
    )
    manifest, rows = labels_of(folder)
    assert set(rows.values()) == {(0, 0)}
    assert manifest["events"]["click"]["too_early"] == 20
    (warning,) = [line for line in manifest["warnings"] if line.startswith("labels.click")]
    assert 'set logs.clicks.slack = "1s"' in warning
    manifest, rows = labels_of(folder, clicks={"slack": "1s"}, conversions={"slack": "1s"})
    assert rows == {f"i{n}": (n % 2, int(n % 4 == 1)) for n in range(40)}
    assert manifest["events"]["click"]["matched"] == 20
    assert not [line for line in manifest["warnings"] if line.startswith("labels.")]


def test_events_logged_as_dates_count_with_a_day(folder):
    times = [T0 + 3600 * n for n in range(24)]
    day = [f"{np.datetime64(time, 's').astype('datetime64[D]')}" for time in times]
    write_logs(
        folder,
        [{"id": f"i{n}", "ts": time, "price": n} for n, time in enumerate(times)],
        [{"id": f"i{n}", "ts": day[n]} for n in range(0, 24, 2)],
        [END],
    )
    manifest, _ = labels_of(folder)
    assert any('set logs.clicks.slack = "1d"' in line for line in manifest["warnings"])
    _, rows = labels_of(folder, clicks={"slack": "1d"})
    assert [rows[f"i{n}"][0] for n in range(24)] == [1, 0] * 12


def test_a_conversion_that_goes_via_a_click_may_be_up_to_its_slack_before_it(folder):
    write_jsonl(
        folder / "impressions.jsonl", [{"id": f"i{n}", "ts": T0, "price": 1} for n in range(9)]
    )
    clicks = [{"id": "i1", "ts": T0 + 5, "user": "u"}, {"id": "i2", "ts": T0 + 9, "user": "u"}]
    write_jsonl(folder / "clicks.jsonl", [*clicks, END])
    write_jsonl(folder / "conversions.jsonl", [{"id": "u", "ts": T0 + 8}])
    via = {"via": "clicks", "touch": "last"}
    for slack, expected in (("0s", "i1"), ("1s", "i2")):
        manifest, rows = labels_of(
            folder, clicks={"key": "user"}, conversions=via | {"slack": slack}
        )
        assert [id_ for id_ in rows if rows[id_] == (1, 1)] == [expected]
        assert manifest["events"]["convert"]["matched"] == 1
