"""Every kind of feature and of label: what it is written as, what it shares, and the declarations
that are refused.
"""

import pytest

from features import kinds
from features.errors import FunnelError
from features.spec import Spec

KINDS = {
    "user": {"kind": "categorical", "buckets": 100, "dim": 4},
    "item": {"kind": "categorical", "min_count": 5, "dim": 4},
    "shop": {"kind": "categorical", "vocabulary": "shops.txt", "dim": 2},
    "position": {"kind": "categorical", "buckets": 11, "identity": True, "serve": 0, "dim": 2},
    "tags": {
        "kind": "categorical",
        "buckets": 50,
        "max_length": 3,
        "weights": "tag_weights",
        "pooling": "max",
        "dim": 2,
    },
    "recent": {"kind": "sequence", "column": "recent_items", "max_length": 4, "shares": "item"},
    "hour": {"kind": "time", "column": "ts", "part": "hour"},
    "price": {"kind": "numeric", "missing": 1.0, "clip": [0, 10], "scale": "minmax"},
    "age": {"kind": "bucketized", "quantiles": 10},
    "user_x_item": {"kind": "product", "of": ["user", "item"]},
}
LABELS = {"click": {"event": "clicks", "within": "30m"}}
TASKS = {"ctr": {"label": "click"}}


def make(**changes):
    return Spec.parse({"features": KINDS, "labels": LABELS, "tasks": TASKS} | changes)


def positions(slots):
    return {name: (s.start, s.length) for name, s in slots.items()}


def test_slots_of_every_kind():
    spec = make()
    assert positions(spec.id_slots) == {
        "user": (0, 1), "item": (1, 1), "shop": (2, 1), "position": (3, 1), "tags": (4, 3),
        "recent": (7, 4), "hour": (11, 1),
    }  # fmt: skip
    assert positions(spec.dense_slots) == {"price": (0, 1), "age": (1, 1)}
    assert positions(spec.weight_slots) == {"tags": (2, 3)}
    assert (spec.ids_width, spec.dense_width) == (12, 5)
    assert spec.embedded_slots["age"].start == 12  # beside the ids, in the model's graph
    assert list(spec.combined) == ["user_x_item"]


def test_columns_of_every_kind():
    spec = make()
    assert spec.columns == {
        "user": "text", "item": "text", "shop": "text", "position": "integer",
        "tags": "texts", "tag_weights": "numbers",
        "recent_items": "texts", "ts": "time", "price": "number", "age": "number",
    }  # fmt: skip
    assert spec.served == {"position": 0}
    assert spec.request_columns.keys() == spec.columns.keys() - {"position"}
    assert spec.bounds == {"position": (0, 9)}
    assert spec.paired == {"tag_weights": "tags"}


def test_a_feature_that_shares_inherits_its_owners_encoding():
    recent = make().features["recent"]
    assert (recent.min_count, recent.dim) == (5, 4)
    assert make().owner("recent") == "item"
    assert list(make().vocabularies) == ["item", "shop"]


def test_round_trip_of_every_kind(tmp_path):
    make().save(tmp_path / "spec.json")
    assert Spec.load(tmp_path / "spec.json") == make()


@pytest.mark.parametrize(
    ("feature", "match"),
    [
        (
            {"kind": "categorical"},
            r"give one of buckets, vocabulary, min_count and shares \(given: none\)",
        ),
        ({"kind": "categorical", "buckets": 9, "min_count": 2}, r"\(given: buckets, min_count\)"),
        ({"kind": "categorical", "min_count": 0}, r"min_count = 0: .* greater than or equal to 1"),
        (
            {"kind": "categorical", "vocabulary": "v", "identity": True},
            "identity takes integers as they are: give buckets",
        ),
        (
            {"kind": "categorical", "buckets": 9, "identity": True, "max_length": 2},
            "are for single values",
        ),
        (
            {"kind": "categorical", "buckets": 9, "weights": "w"},
            "weights are for several values: give max_length",
        ),
        (
            {"kind": "categorical", "buckets": 9, "max_length": 2, "serve": "a"},
            "serve is for single values",
        ),
        (
            {"kind": "categorical", "buckets": 9, "dtype": "int64", "serve": "a"},
            "serve = 'a': its column holds integers, so give one",
        ),
        (
            {"kind": "categorical", "shares": "usr"},
            r"shares = 'usr' must be a categorical feature .*did you mean 'user'\?",
        ),
        (
            {"kind": "categorical", "shares": "recent"},
            r"shares = 'recent' must be a categorical feature with a table of its own",
        ),
        (
            {"kind": "categorical", "shares": "user", "dim": 8},
            "dim = 8, but it shares the table of 'user', whose dim is 4: leave it out",
        ),
        ({"kind": "categorical", "shares": "position"}, "both take integers as they are"),
        ({"kind": "sequence", "buckets": 9}, "max_length: Field required"),
        ({"kind": "time", "part": "minute"}, "part = 'minute': .*'hour' or 'weekday'"),
        ({"kind": "numeric", "clip": [3, 3]}, r"clip = \[3.0, 3.0\] must be \[low, high\]"),
        ({"kind": "bucketized"}, "give boundaries, or quantiles"),
        (
            {"kind": "bucketized", "boundaries": [1, 2], "quantiles": 3},
            "give boundaries, or quantiles",
        ),
        ({"kind": "bucketized", "boundaries": [2, 1]}, "must rise"),
        ({"kind": "product", "of": ["user", "price"]}, "'price', which has no embedding"),
        (
            {"kind": "product", "of": ["user", "shop"]},
            "multiplies 'user' of dim 4 with 'shop' of dim 2: give both the same dim",
        ),
    ],
)
def test_a_feature_that_is_refused(feature, match):
    with pytest.raises(FunnelError, match=match):
        make(features=KINDS | {"new": feature})


@pytest.mark.parametrize("name", ["ids", "weight", "tags_weights"])
def test_names_that_the_layouts_keep(name):
    with pytest.raises(
        FunnelError,
        match=rf"features\.{name}: '{name}' is a reserved tf.Example key: rename the feature",
    ):
        make(features=KINDS | {name: {"kind": "numeric"}})


@pytest.mark.parametrize(
    ("label", "is_number"),
    [
        ({"event": "clicks", "within": "1d", "value": "dwell"}, True),
        (
            {
                "event": "clicks",
                "after": "click",
                "value": "dwell",
                "take": "max",
                "transform": "log1p",
                "clip": [0, 600],
            },
            True,
        ),
        ({"event": "clicks", "after": "click", "value": "dwell", "at_least": 10}, False),
        ({"value": "watched", "of": "length", "at_least": 0.5}, False),
        ({"value": "watched"}, True),
        ({"column": "bought"}, False),
    ],
)
def test_labels_of_every_kind(label, is_number):
    assert make(labels=LABELS | {"new": label}).labels["new"].is_number is is_number


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (
            {"event": "clicks", "within": "1d", "at_least": 10},
            "at_least is for labels from a number: name its column in value",
        ),
        (
            {"event": "clicks", "within": "1d", "take": "sum"},
            "take = 'sum' is for labels from a number",
        ),
        ({"value": "w", "at_least": 1, "transform": "log1p"}, "at_least makes the label binary"),
        ({"value": "w", "clip": [-1, 1]}, "a label below 0 means unknown"),
        ({"value": "price"}, "labels.new and features.price both read the column 'price'"),
        (
            {"event": "sales", "after": "click"},
            "labels.new.within is missing: how long after 'click' an event of sales still counts",
        ),
    ],
)
def test_a_label_that_is_refused(label, match):
    with pytest.raises(FunnelError, match=match):
        make(labels=LABELS | {"new": label})


MORE = LABELS | {
    "convert": {"column": "bought"},
    "dwell": {"event": "clicks", "value": "seconds", "after": "click"},
}


@pytest.mark.parametrize("given", [None, "click"])
def test_a_task_on_a_number_has_no_joint(given):
    spec = make(
        labels=MORE,
        tasks=TASKS
        | {"dwell": {"label": "dwell", "given": given, "loss": "huber", "huber_delta": 2}},
    )
    assert (spec.tasks["dwell"].joint, spec.parent("dwell")) == (None, given and "ctr")
    assert make(**spec.model_dump(mode="json")) == spec  # with every default filled in


def test_a_number_with_a_threshold_has_one():
    read = MORE["dwell"] | {"at_least": 10}
    assert (
        make(
            labels=LABELS | {"read": read},
            tasks=TASKS | {"read": {"label": "read", "given": "click"}},
        )
        .tasks["read"]
        .joint
        == "ctr_read"
    )


def test_a_column_label_of_several_texts():
    spec = make(labels=LABELS | {"rich": {"column": "income", "equals": [">50K", ">50K."]}})
    assert spec.labels["rich"].equals == [">50K", ">50K."]
    with pytest.raises(
        FunnelError, match=r"labels\.rich\.equals = \[\]: List should have at least 1 item"
    ):
        make(labels=LABELS | {"rich": {"column": "income", "equals": []}})


@pytest.mark.parametrize(
    ("task", "match"),
    [
        (
            {"label": "dwell", "loss": "cross_entropy"},
            r"tasks\.t\.loss = 'cross_entropy', but the label 'dwell' is a number: its loss is "
            r"mse or huber",
        ),
        (
            {"label": "click", "loss": "mse"},
            r"tasks\.t\.loss = 'mse', but the label 'click' is 0 or 1: its loss is cross_entropy",
        ),
        (
            {"label": "click", "loss": "hinge"},
            r"tasks\.t\.loss = 'hinge': Input should be 'cross_entropy', 'mse' or 'huber'",
        ),
        (
            {"label": "dwell", "loss": "mse", "huber_delta": 2},
            r"tasks\.t\.huber_delta = 2\.0 is for loss = 'huber': give that loss, or remove it",
        ),
        (
            {"label": "dwell", "huber_delta": 2},
            r"tasks\.t\.huber_delta = 2\.0 is for loss = 'huber'",
        ),
        (
            {"label": "dwell", "loss": "huber", "huber_delta": 0},
            r"tasks\.t\.huber_delta = 0: Input should be greater than 0",
        ),
        (
            {"label": "dwell", "positive_weight": 2},
            r"tasks\.t\.positive_weight is for a label of 0 and 1, but 'dwell' is a number: "
            r"remove it",
        ),
        ({"label": "dwell", "threshold": 0.2}, r"tasks\.t\.threshold is for a label of 0 and 1"),
        (
            {"label": "dwell", "given": "click", "joint": "both"},
            r"tasks\.t\.joint is for a label of 0 and 1",
        ),
        (
            {"label": "dwell", "given": "click", "label_is_joint": True},
            r"tasks\.t\.label_is_joint is for a label of 0 and 1",
        ),
        (
            {"label": "convert", "label_is_joint": True},
            r"tasks\.t\.label_is_joint: the label is that of a chain, .*: give `given`",
        ),
        (
            {"label": "convert", "positive_weight": -1},
            r"tasks\.t\.positive_weight = -1: Input should be greater than 0",
        ),
        (
            {"label": "convert", "given": "dwell"},
            r"tasks\.t\.given = 'dwell' is a number: a sample space is where a label of 0 and 1 "
            r"is 1; .*at_least",
        ),
        (
            {"label": ["convert"], "given": "click"},
            r"tasks\.t\.label = \['convert'\]: Input should be a valid string",
        ),
    ],
)
def test_a_task_that_is_refused(task, match):
    with pytest.raises(FunnelError, match=match):
        make(labels=MORE, tasks={"ctr": {"label": "click"}, "dwell": {"label": "dwell"}, "t": task})


CROSSED = KINDS | {"crossed": {"kind": "cross", "of": ["user", "item"], "buckets": 9}}


def test_every_kind_is_declared_here():
    assert {one["kind"] for one in CROSSED.values()} == set(kinds.KINDS)


@pytest.mark.parametrize("name", CROSSED)
def test_what_every_kind_answers(name):
    """A kind writes ids, or a number, or nothing; and its class is the one of its name."""
    spec = make(features=CROSSED)
    feature = spec.features[name]
    assert type(feature) is kinds.KINDS[feature.kind_name]
    numbers = [feature.number, feature.boundaries_from]
    written = [feature.written_slots > 0, *(n is not None for n in numbers), bool(feature.combines)]
    assert sum(written) == 1
    assert (feature.embedding is None) == (feature.number is not None or bool(feature.combines))
    if feature.written_slots:
        assert feature.embedding.slots == feature.written_slots
    assert feature.raw_columns(spec.features) or feature.combines or feature.kind_name == "cross"
    assert feature.written_declaration()["kind"] == feature.kind_name
