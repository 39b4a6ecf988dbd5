"""The contract's rules, one by one: slots, fingerprint, round trip, crosses, chains, names;
durations and nearest keys.
"""

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import FunnelError, nearest
from features.labels import ColumnLabel, EventLabel
from features.settings import Duration, Settings, format_duration, microseconds, parse_duration
from features.spec import Spec

USER = {"kind": "categorical", "buckets": 100}
FEATURES = {
    "user": USER,
    "tags": {"kind": "categorical", "buckets": 50, "max_length": 3, "column": "raw_tags"},
    "price": {"kind": "numeric"},
    "words": {"kind": "categorical", "buckets": 50, "max_length": 2, "separator": "|"},
    "age": {"kind": "numeric", "transform": "log1p"},
    "user_x_tags": {"kind": "cross", "of": ["user", "tags"], "buckets": 90, "max_length": 4},
    "user_x_device": {"kind": "cross", "of": ["user", "device"], "buckets": 90},
    "shop": {"kind": "categorical", "buckets": 9, "dtype": "int64"},
}
LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "convert": {"event": "conversions", "within": "3d", "after": "click"},
    "rich": {"column": "income", "equals": "yes"},
}
TASKS = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}


def make(**changes):
    return Spec.parse({"features": FEATURES, "labels": LABELS, "tasks": TASKS} | changes)


def fails(match, **changes):
    with pytest.raises(FunnelError, match=match) as raised:
        make(**changes)
    assert "\n" not in str(raised.value)  # one mistake, one line


def with_(base, name, **changes):
    return base | {name: base[name] | changes}


def without(base, *names):
    return {k: v for k, v in base.items() if k not in names}


def test_golden_slots():
    spec = make()
    positions = {name: (slots.start, slots.length) for name, slots in spec.id_slots.items()}
    assert positions == {
        "user": (0, 1),
        "tags": (1, 3),
        "words": (4, 2),
        "user_x_tags": (6, 4),
        "user_x_device": (10, 1),
        "shop": (11, 1),
    }
    assert {name: (slots.start, slots.length) for name, slots in spec.dense_slots.items()} == {
        "price": (0, 1),
        "age": (1, 1),
    }
    assert (spec.ids_width, spec.dense_width) == (12, 2)
    assert spec.id_slots["tags"].slice == slice(1, 4)


def test_columns_and_what_they_hold():
    assert make().columns == {
        "user": "text",
        "raw_tags": "texts",
        "price": "number",
        "words": "text",
        "age": "number",
        "device": "text",
        "shop": "integer",
    }


def test_defaults():
    spec = make()
    assert (
        spec.features["user"].column,
        spec.features["user"].dim,
        spec.features["tags"].pooling,
    ) == ("user", 16, "mean")
    assert isinstance(spec.labels["click"], EventLabel)
    assert isinstance(spec.labels["rich"], ColumnLabel)
    assert spec.labels["convert"].within == timedelta(days=3)


# Fingerprint and file


def test_golden_fingerprint():
    # It is written into every data directory: a change of this number means that all of them must
    # be preprocessed again.
    spec = Spec.parse(
        {
            "features": {"user": USER},
            "labels": {"click": {"column": "c"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )
    assert spec.fingerprint == "a4ee0fb20a11efef"


@pytest.mark.parametrize(
    "changes",
    [
        {"features": with_(FEATURES, "user", dim=4)},
        {"features": with_(FEATURES, "tags", pooling="sum")},
        {"features": with_(FEATURES, "user_x_tags", pooling="sum", dim=2)},
        {"features": with_(FEATURES, "price", scale="none")},
        {"tasks": {"rich": {"label": "rich"}}},
        {"labels": with_(LABELS, "click", within="1800s")},
    ],
)
def test_what_the_graph_alone_reads_keeps_the_fingerprint(changes):
    assert make(**changes).fingerprint == make().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"features": with_(FEATURES, "user", buckets=101)},
        {"features": with_(FEATURES, "user", column="member")},
        {"features": with_(FEATURES, "tags", max_length=2)},
        {"features": with_(FEATURES, "words", separator=";")},
        {"features": with_(FEATURES, "price", transform="log1p")},
        {"features": with_(FEATURES, "user_x_tags", of=["tags", "user"])},
        {"features": without(FEATURES, "shop")},
        {"features": dict(reversed(FEATURES.items()))},  # another order, other slots
        {"labels": with_(LABELS, "click", within="31m")},
        {"labels": with_(LABELS, "rich", equals="no")},
        {"labels": with_(LABELS, "convert", event="sales")},
        {"labels": LABELS | {"more": {"column": "d"}}},
    ],
)
def test_what_is_written_changes_the_fingerprint(changes):
    assert make(**changes).fingerprint != make().fingerprint


def test_round_trip(tmp_path):
    spec = make()
    spec.save(tmp_path / "spec.json")
    loaded = Spec.load(tmp_path / "spec.json")
    assert loaded == spec
    assert loaded.fingerprint == spec.fingerprint
    assert list(loaded.features) == list(spec.features)
    content = json.loads((tmp_path / "spec.json").read_text())
    assert content["slots"]["ids"]["tags"] == [1, 3]
    assert content["labels"]["click"]["within"] == "30m"
    assert Spec.parse(spec.model_dump()) == spec
    assert Spec.parse(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize(
    ("tamper", "match"),
    [
        (
            lambda c: c["features"]["user"].update(buckets=7),
            r"fingerprint [0-9a-f]{16} is not this version's [0-9a-f]{16}; preprocess again",
        ),
        (
            lambda c: c.update(fingerprint="0" * 16),
            r"fingerprint 0000000000000000 is not this version's",
        ),
        (lambda c: c.pop("fingerprint"), "fingerprint None is not this version's"),
        (lambda c: c.pop("labels"), r"spec\.json\.labels"),
        (
            lambda c: c["features"]["user"].update(bukets=7),
            r"spec\.json\.features\.user: unknown key 'bukets': did you mean 'buckets'\?",
        ),
    ],
)
def test_a_tampered_file(tmp_path, tamper, match):
    make().save(tmp_path / "spec.json")
    content = json.loads((tmp_path / "spec.json").read_text())
    tamper(content)
    (tmp_path / "spec.json").write_text(json.dumps(content))
    with pytest.raises(FunnelError, match=match):
        Spec.load(tmp_path / "spec.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_file_that_is_no_spec(tmp_path, content):
    with pytest.raises(
        FunnelError,
        match=(
            r"spec\.json: cannot be read as spec\.json \(.*No such file.*\); run `funnel "
            r"preprocess` first"
        ),
    ):
        Spec.load(tmp_path / "spec.json")
    (tmp_path / "spec.json").write_bytes(content)
    with pytest.raises(
        FunnelError,
        match=(
            r"spec\.json: (cannot be read as spec\.json|holds no object of declarations).*run "
            r"`funnel preprocess`"
        ),
    ):
        Spec.load(tmp_path / "spec.json")


# Features


@pytest.mark.parametrize(
    ("feature", "match"),
    [
        (
            {"kind": "categorical"},
            r"^features\.user: give one of buckets, vocabulary, min_count and shares \(given: "
            r"none\)$",
        ),
        (
            {"kind": "categorical", "buckets": 1},
            r"^features\.user\.buckets = 1: .* greater than or equal to 2",
        ),
        (
            {"kind": "categorical", "buckets": 2**31},
            r"^features\.user\.buckets = 2147483648: .* less than 2147483648",
        ),
        (
            {"kind": "categorical", "bukets": 9},
            r"^features\.user: unknown key 'bukets': did you mean 'buckets'\?$",
        ),
        ({"kind": "categorical", "buckets": 9, "dim": 0}, r"^features\.user\.dim = 0: "),
        (
            {"kind": "categorical", "buckets": 9, "max_length": 0},
            r"^features\.user\.max_length = 0: ",
        ),
        (
            {"kind": "categorical", "buckets": 9, "separator": ""},
            r"^features\.user\.separator = '': ",
        ),
        (
            {"kind": "categorical", "buckets": 9, "separator": "|"},
            r"^features\.user: separator splits .*: give max_length",
        ),
        (
            {"kind": "categorical", "buckets": 9, "max_length": 2, "dtype": "int64"},
            r"^features\.user: identity and dtype = 'int64' are for single values",
        ),
        (
            {"kind": "categorical", "buckets": 9, "pooling": "min"},
            r"^features\.user\.pooling = 'min': .*'mean', 'sum' or 'max'",
        ),
        (
            {"kind": "numeric", "transform": "sqrt"},
            r"^features\.user\.transform = 'sqrt': .*'none' or 'log1p'",
        ),
        ({"kind": "numeric", "dim": 4}, r"^features\.user: unknown key 'dim': "),
        (
            {"kind": "number"},
            r"^features\.user: kind = 'number' is unknown: did you mean 'numeric'\? known: "
            r"bucketized, categorical, cross, numeric, product, sequence, time",
        ),
        (
            {"buckets": 9},
            r"^features\.user: 'kind' is missing: give one of categorical, .*, product",
        ),
        (5, r"^features\.user = 5: "),
        (
            {"kind": "cross", "of": ["a"], "buckets": 9},
            r"^features\.user\.of = \['a'\]: .*at least 2",
        ),
    ],
)
def test_a_feature_that_is_refused(feature, match):
    fails(match, features={"user": feature})


def test_crosses():
    cross = {"kind": "cross", "buckets": 9}
    fails(
        r"features\.x\.of names 'price', a numeric feature: a cross combines categorical ones",
        features=FEATURES | {"x": cross | {"of": ["user", "price"]}},
    )
    chained = FEATURES | {"x": cross | {"of": ["user", "user_x_device"]}}
    fails(r"features\.x\.of names 'user_x_device', a cross feature", features=chained)
    many = FEATURES | {"x": cross | {"of": ["user", "tags"]}}
    fails(
        r"features\.x crosses the multi-valued 'tags': give max_length, how many combinations "
        r"are kept",
        features=many,
    )
    listed = FEATURES | {"x": cross | {"of": ["user", "raw_tags"]}}
    fails(
        r"features\.tags reads column 'raw_tags' as texts, features\.x as text: it holds one of "
        r"them",
        features=listed,
    )


def test_one_column_holds_one_type():
    both = {"a": USER | {"column": "c"}, "b": {"kind": "numeric", "column": "c"}}
    fails(
        r"features\.a reads column 'c' as text, features\.b as number: it holds one of them",
        features=both,
    )
    assert make(
        features={"a": USER | {"column": "c"}, "b": USER | {"column": "c", "buckets": 9}}
    ).columns == {"c": "text"}


@pytest.mark.parametrize("section", ["features", "labels", "tasks"])
@pytest.mark.parametrize("name", ["1st", "a b", "", "a-b", "é", "_a"])
def test_names_that_no_tensor_may_have(section, name):
    one = {"features": USER, "labels": {"column": "zzz"}, "tasks": {"label": "click"}}[section]
    base = {"features": FEATURES, "labels": LABELS, "tasks": TASKS}[section]
    fails(rf"^{section}\.{name}.*should match pattern", **{section: base | {name: one}})


@pytest.mark.parametrize("section", ["features", "labels", "tasks"])
def test_no_section_is_empty(section):
    fails(rf"^{section}: .* at least 1", **{section: {}})


# Labels


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (
            {"event": "clicks"},
            r"^labels\.click: within is missing: how long after the impression an event still "
            r"counts, as in '30m'$",
        ),
        (
            {"event": "clicks", "within": "30"},
            r"^labels\.click\.within = '30': must be a whole number and a unit \(d, h, m or s\), "
            r"as in '30m'$",
        ),
        (
            {"event": "clicks", "withn": "30m"},
            r"^labels\.click: unknown key 'withn': did you mean 'within'\?$",
        ),
        (
            {"column": "c", "equal": "1"},
            r"^labels\.click: unknown key 'equal': did you mean 'equals'\?$",
        ),
        (
            {"column": "c", "within": "1d"},
            r"^labels\.click: unknown key 'within': known: column, equals$",
        ),
        ({"column": 5}, r"^labels\.click\.column = 5: "),
        ({}, r"^labels\.click\.event: Field required"),
        ("clicks", r"^labels\.click = 'clicks': "),
        (
            {"event": "clicks", "within": "1d", "after": "buy"},
            r"labels\.click\.after = 'buy' must be an event label above it: ",
        ),
        (
            {"event": "clicks", "within": "1d", "after": "click"},
            r"labels\.click\.after = 'click' must be an event label above it: ",
        ),
        (
            {"event": "clicks", "within": "1d", "after": "rich"},
            r"labels\.click\.after = 'rich' must be an event label above it: none is known",
        ),
        (
            {"column": "user"},
            r"labels\.click and features\.user both read the column 'user': a label may not be a "
            r"feature; remove the feature",
        ),
        ({"column": "raw_tags"}, r"labels\.click and features\.tags both read"),
        ({"column": "device"}, r"labels\.click and features\.user_x_device both read"),
    ],
)
def test_a_label_that_is_refused(label, match):
    with pytest.raises(FunnelError, match=match):
        make(labels={"rich": LABELS["rich"], "click": label}, tasks={"ctr": {"label": "click"}})


@pytest.mark.parametrize("name", ["ids", "dense", "id", "weight"])
def test_names_that_the_layout_keeps_for_itself(name):
    match = (
        rf"labels\.{name}: '{name}' is a reserved tf\.Example key: rename the label "
        r"\(reserved: ids, dense, id, weight\)"
    )
    fails(match, labels=LABELS | {name: {"column": "zzz"}})


# Tasks


@pytest.mark.parametrize(
    ("tasks", "match"),
    [
        (
            {"ctr": {"label": "clik"}},
            r"tasks\.ctr\.label = 'clik' is not a label: did you mean 'click'\?",
        ),
        (
            {"ctr": {"label": "click", "given": "convert"}},
            r"tasks\.ctr\.given = 'convert' must be the label of another task: none is known",
        ),
        (
            {"ctr": {"label": "click", "given": "click"}},
            r"tasks\.ctr\.given = 'click' must be the label of another task",
        ),
        (
            {
                "ctr": {"label": "click", "given": "convert"},
                "cvr": {"label": "convert", "given": "click"},
            },
            r"tasks\.ctr\.given = 'convert' leads back to 'ctr': a chain of tasks has a first one",
        ),
        ({"ctr": {"label": "click", "threshold": 1}}, r"tasks\.ctr\.threshold = 1: "),
        (
            TASKS | {"ctcvr": {"label": "convert"}},
            r"tasks and joints share the name 'ctcvr': give one of them another name",
        ),
        (
            {
                "a": {"label": "click"},
                "b": {"label": "convert", "given": "click", "joint": "j"},
                "c": {"label": "rich", "given": "click", "joint": "j"},
            },
            r"tasks and joints share the name 'j'",
        ),
    ],
)
def test_tasks_that_are_refused(tasks, match):
    with pytest.raises(FunnelError, match=match):
        make(tasks=tasks)


def test_joints_and_parents():
    chain = {
        "view": {"label": "rich"},
        "ctr": {"label": "click", "given": "rich"},
        "cvr": {"label": "convert", "given": "click"},
    }
    spec = make(tasks=chain)
    assert {name: (task.joint, spec.parent(name)) for name, task in spec.tasks.items()} == {
        "view": (None, None),
        "ctr": ("view_ctr", "view"),
        "cvr": ("ctcvr", "ctr"),
    }
    assert make(tasks=with_(TASKS, "cvr", joint="both")).tasks["cvr"].joint == "both"


# Settings


class Section(Settings):
    """For the tests of the base alone."""

    steps: int = 10
    window: Duration = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1d", 86_400), ("2 h", 7200), ("0s", 0), ("90s", 90)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert microseconds(parse_duration(text)) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["30", "m", "", "1.5h", "-1d", "1w", "1d2h", 30, None, "30M"])
def test_durations_that_are_refused(text):
    with pytest.raises(
        FunnelError,
        match=r"window.*: must be a whole number and a unit \(d, h, m or s\), as in '30m'",
    ):
        Section.parse({"window": text})


@given(st.integers(0, 10**7))
@settings(deadline=None, max_examples=100)
def test_durations_round_trip(seconds):
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_a_duration_is_written_in_its_longest_unit():
    assert [format_duration(timedelta(seconds=s)) for s in (0, 90, 5400, 7200, 172_800)] == [
        "0s",
        "90s",
        "90m",
        "2h",
        "2d",
    ]


def test_every_mistake_has_a_line():
    with pytest.raises(FunnelError, match=r"steps = 'x': .*\n.*window = 5: must be") as raised:
        Section.parse({"steps": "x", "window": 5}, "train")
    assert all(line.startswith("train.") for line in str(raised.value).splitlines())


def test_unknown_keys_name_the_nearest():
    with pytest.raises(FunnelError, match=r"^train: unknown key 'step': did you mean 'steps'\?$"):
        Section.parse({"step": 1}, "train")
    with pytest.raises(
        FunnelError, match=r"^configuration: unknown key 'zzz': known: steps, window$"
    ):
        Section.parse({"zzz": 1})
    with pytest.raises(FunnelError, match=r"^train = 5: "):
        Section.parse(5, "train")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Section().steps = 5


def test_nearest():
    assert nearest("clik", ["click", "convert"]) == "did you mean 'click'?"
    assert (
        nearest("clik", ["click", "convert"], listed=True)
        == "did you mean 'click'? known: click, convert"
    )
    assert nearest("zzz", ["b", "a"]) == nearest("zzz", ["b", "a"], listed=True) == "known: a, b"
    assert nearest("zzz", []) == "none is known here"
