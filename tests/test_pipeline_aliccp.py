"""pipeline.sources.formats.aliccp: the raw pair of files, from literal samples in the form that its
description gives.
"""

import pytest
from log_files import request_of
from pipeline_logs import run

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.rows.read import check_columns, read_source
from pipeline.sources import pieces as formats
from pipeline.sources.files import find

COMMON = {
    "c1": [("101", "31319", 1.0), ("109_14", "455", 2.5), ("109_14", "456", 0.69315)],
    "c2": [("101", "24", 1.0), ("121", "3", 1.0)],
    "c3": [],
}
SAMPLES = [  # id, click, conversion, common key, features
    ("1", "0", "0", "c1", [("205", "4000", 1.0), ("508", "9", 2.3979)]),
    ("2", "1", "0", "c1", [("205", "4001", 1.0), ("109_14", "999", 1.0)]),
    ("3", "1", "1", "c2", [("205", "4000", 1.0)]),
    ("4", "0", "0", "missing", [("101", "5", 1.0), ("205", "7", 1.0)]),
    ("5", "0", "0", "c3", []),
]
WANTED = {
    "click": "text",
    "205": "text",
    "101": "text",
    "109_14": "texts",
    "109_14.value": "numbers",
    "508.value": "number",
}


def encode(features):
    return "\x01".join(f"{field}\x02{id_}\x03{value}" for field, id_, value in features)


def write_pair(folder, samples=SAMPLES, common=None):
    common = COMMON if common is None else common
    skeleton = [
        ",".join([*own, str(len(features)), encode(features)]) for *own, features in samples
    ]
    (folder / "sample_skeleton.csv").write_text("".join(line + "\n" for line in skeleton))
    shared = [
        ",".join([key, str(len(features)), encode(features)]) for key, features in common.items()
    ]
    (folder / "common_features.csv").write_text("".join(line + "\n" for line in shared))


def open_pair(folder):
    stream = Stream(
        files=f"{folder}/sample_skeleton.csv",
        common=f"{folder}/common_features.csv",
        format="aliccp",
        id="sample_id",
        time=None,
    )
    (source,) = find("files", "impressions", stream, stream.files)
    return source, stream


def read_pair(folder, columns=WANTED):
    source, stream = open_pair(folder)
    rows, rejects, misses = {}, [], 0
    for batch in read_source(source, stream, request_of(columns)):
        values = {
            name.rpartition(":")[2]: column.to_pylist() for name, column in batch.columns.items()
        }
        rows |= {
            id_: {name: values[name][at] for name in columns} for at, id_ in enumerate(values["id"])
        }
        rejects += [(r.line if r.byte is None else r.byte, r.reason) for r in batch.rejects]
        misses += batch.lookup_misses["common"]
    return rows, sorted(rejects), misses


def row(*values):
    return dict(zip(WANTED, values, strict=True))


ROWS = {
    "1": row("0", "4000", "31319", ["455", "456"], [2.5, 0.69315], 2.3979),
    "2": row(
        "1", "4001", "31319", ["999", "455", "456"], [1.0, 2.5, 0.69315], None
    ),  # a sample's own features come first
    "3": row("1", "4000", "24", None, None, None),
    "4": row("0", "7", "5", None, None, None),
    "5": row("0", None, None, None, None, None),
}


def test_samples_with_their_common_features(tmp_path):
    write_pair(tmp_path)
    assert read_pair(tmp_path) == (ROWS, [], 1)


def test_pieces_read_the_same(tmp_path, monkeypatch):
    write_pair(tmp_path)
    for size in (1, 7, 40, 100):
        monkeypatch.setattr(formats, "PIECE_BYTES", size)
        assert read_pair(tmp_path) == (ROWS, [], 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("6,0,0,c1,2,205\x021\x031.0", "count is not the number of features"),
        ("6,0,0,c1,0,205\x021\x031.0", "count is not the number of features"),
        ("6,0,0,c1,x,205\x021\x031.0", "count is not the number of features"),
        ("6,0,0,c1,1,205\x021", "features are not field, id and value"),
        ("6,0,0,c1,1,205\x031.0\x021", "features are not field, id and value"),
        ("6,0,0,c1,1", "5 values, expected 6"),
        (
            "6,0,0,c1,2,205\x021\x031.0\x01205\x022\x031.0",
            "a field with several values, read as one",
        ),
        ("6,0,0,c1,1,508\x021\x03high", "508.value is not a number"),
        (",0,0,c1,1,205\x021\x031.0", "sample_id is missing"),
    ],
)
def test_a_sample_that_cannot_be_used(tmp_path, line, reason):
    write_pair(tmp_path)
    with (tmp_path / "sample_skeleton.csv").open("a") as file:
        file.write(line + "\n")
    assert read_pair(tmp_path) == (ROWS, [(6, reason)], 1)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (
            "c9,2,101\x021\x031.0",
            r"common_features\.csv, line 4: count is not the number of features \(.*c9.*\); "
            r".*must have no malformed line: fix it",
        ),
        ("c9,1,101\x021", r"line 4: features are not field, id and value"),
        ("c9,1", r"line 4: 2 values, expected 3"),
        (
            "c1,1,101\x021\x031.0",
            r"common_feature_id 'c1' occurs more than once: keep one line for each",
        ),
    ],
)
def test_common_features_that_cannot_be_used(tmp_path, line, match):
    write_pair(tmp_path)
    with (tmp_path / "common_features.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FunnelError, match=match):
        read_pair(tmp_path)


def test_a_field_that_is_not_there(tmp_path):
    write_pair(tmp_path)
    source, stream = open_pair(tmp_path)
    check_columns([source], stream, request_of(WANTED))
    with pytest.raises(
        FunnelError, match=r"sample_skeleton\.csv: has no column '109_41': did you mean '109_14'\?"
    ):
        check_columns([source], stream, request_of({"109_41": "texts"}))


def test_the_second_file_is_named(tmp_path):
    write_pair(tmp_path)
    source, stream = open_pair(tmp_path)
    with pytest.raises(
        FunnelError,
        match="format = 'aliccp' reads two files: name the one of common features in common",
    ):
        check_columns([source], stream.model_copy(update={"common": None}), request_of(WANTED))


def test_no_samples(tmp_path):
    write_pair(tmp_path, samples=[])
    assert read_pair(tmp_path) == ({}, [], 0)


def test_the_whole_job(tmp_path):
    write_pair(tmp_path)
    _, stream = open_pair(tmp_path)
    weighted = {
        "kind": "categorical",
        "buckets": 99,
        "max_length": 2,
        "column": "109_14",
        "weights": "109_14.value",
    }
    manifest, examples = run(
        tmp_path,
        logs={"table": stream.model_dump(exclude_none=True)},
        features={
            "ad": {"kind": "categorical", "buckets": 99, "column": "205"},
            "history": weighted,
        },
        labels={"click": {"column": "click"}, "buy": {"column": "conversion"}},
        tasks={"ctr": {"label": "click"}, "cvr": {"label": "buy", "given": "click"}},
    )
    assert {id_: (row["click"], row["buy"]) for id_, row in examples.items()} == {
        s[0]: (int(s[1]), int(s[2])) for s in SAMPLES
    }
    assert [n > 0 for n in examples["1"]["ids"]] == [True, True, True]
    assert [n > 0 for n in examples["5"]["ids"]] == [False, False, False]
    assert manifest["rows"]["examples_written"] == 5
