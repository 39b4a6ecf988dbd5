"""The configuration file: its meaning, its errors, and that the resolved one means the same."""

import tomllib
from pathlib import Path

import pytest

from features.errors import FunnelError
from funnel.config import config

TOML = """
[logs]
impressions = { files = "i/*.parquet", id = "id", time = "ts" }
clicks = { files = ["c/*.csv"], id = "id", time = "ts", missing = ["?"] }

[labels]
click = { event = "clicks", within = "30m" }

[features]
user = { kind = "categorical", buckets = 100 }
price = { kind = "numeric", transform = "log1p" }

[split]
eval = { last = "1d" }

[tasks]
ctr = { label = "click" }
"""


def load(folder, text=TOML, *overrides):
    (folder / "my.toml").write_text(text)
    return config.load(folder / "my.toml", overrides)


def fails(match, folder, text=TOML, *overrides):
    with pytest.raises(FunnelError, match=match):
        _ = load(folder, text, *overrides).preprocess


def test_reads_every_section(tmp_path):
    loaded = load(tmp_path)
    assert loaded.run == Path("runs/my")
    assert (loaded.data, loaded.model_dir, loaded.export_dir, loaded.logs) == tuple(
        loaded.run / d for d in ("data", "model", "export", "logs")
    )
    settings = loaded.preprocess
    assert settings.logs["clicks"].missing == ["?"]
    assert settings.rows == "impressions"
    assert settings.longest_window == 1800 * 10**6
    assert loaded.simulate is None
    assert loaded.spec == settings.spec


def test_run_and_the_simulations_directory(tmp_path):
    text = 'run = "elsewhere"\n' + TOML + "[simulate]\nusers = 10\n"
    assert load(tmp_path, text).logs == Path("elsewhere/logs")
    assert load(tmp_path, text, "simulate.out=there").logs == Path("there")


def test_a_file_that_is_not_toml(tmp_path):
    with pytest.raises(
        FunnelError,
        match=r"none\.toml: cannot be read \(No such file or directory\); `funnel init` writes one",
    ):
        config.load(tmp_path / "none.toml")
    with pytest.raises(FunnelError, match=r"cannot be read \(Is a directory\)"):
        config.load(tmp_path)
    for content in (b"[logs", b"a = ", b"\xff = 1", b"a = 1\na = 2"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(FunnelError, match=r"bad\.toml: is not TOML: "):
            config.load(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("[logs]", "[log]", r"^configuration: unknown key 'log': did you mean 'logs'\?$"),
        ("[split]", "[spilt]", r"^configuration: unknown key 'spilt': did you mean 'split'\?$"),
        (
            "missing =",
            "mising =",
            r"^logs\.clicks: unknown key 'mising': did you mean 'missing'\?$",
        ),
        ("buckets", "bucket", r"^features\.user: unknown key 'bucket': did you mean 'buckets'\?$"),
        ("within", "whithin", r"^labels\.click: unknown key 'whithin': did you mean 'within'\?$"),
        ("last =", "lst =", r"^split\.eval: unknown key 'lst': did you mean 'last'\?$"),
        (
            '{ last = "1d" }',
            "{}",
            r"^split\.eval: give one of last, fraction and files \(given: none\)$",
        ),
        (
            'last = "1d"',
            'last = "1d", fraction = 0.1',
            r"^split\.eval: give one of last, fraction and files \(given: last, fraction\)$",
        ),
        ('last = "1d"', "fraction = 1.0", r"^split\.eval\.fraction = 1\.0: "),
        (
            'last = "1d"',
            'last = "1 day"',
            r"^split\.eval\.last = '1 day': must be a whole number and a unit",
        ),
        (
            "files = [",
            "format = 'xml', files = [",
            r"^logs\.clicks\.format = 'xml' is not a format; known: aliccp, csv, jsonl, parquet",
        ),
        ("files = [", "separator = '||', files = [", r"^logs\.clicks\.separator = '\|\|': "),
        (
            'event = "clicks"',
            'event = "click"',
            r"labels\.click\.event = 'click' is not a stream of logs: did you mean 'clicks'\?",
        ),
        (
            "impressions =",
            "shown =",
            r"^logs holds shown, clicks: declare either impressions or table$",
        ),
        (
            "clicks =",
            "table =",
            r"^logs holds impressions, table: declare either impressions or table$",
        ),
        ('"30m" }', '"30m" }\n[split.more]', r"^split: unknown key 'more': "),
        (
            "[tasks]",
            "[logs.buys]\nfiles = 'b.csv'\n[tasks]",
            r"^logs\.buys: no label reads this stream; declare a label with event = 'buys'",
        ),
        (
            'event = "clicks", within = "30m"',
            'column = "c"',
            r"^logs\.clicks: no label reads this stream",
        ),
        (
            '"i/*.parquet", id = "id"',
            '"i/*.parquet"',
            r"^logs\.impressions\.id is missing: events join impressions by id",
        ),
        ("[logs]", "logs = 5\n[log]", r"unknown key 'log'"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, match):
    assert TOML.count(old) >= 1
    fails(match, tmp_path, TOML.replace(old, new, 1))


def test_a_split_by_time_needs_times(tmp_path):
    text = """
        [logs]
        table = { files = "t.csv" }
        [features]
        user = { kind = "categorical", buckets = 9 }
        [labels]
        rich = { column = "c" }
        [tasks]
        income = { label = "rich" }
        [split]
        eval = { last = "1d" }
    """
    fails(
        r"split\.eval\.last splits by time: name the time column in logs\.table\.time, or give a "
        r"fraction",
        tmp_path,
        text,
    )
    assert load(tmp_path, text, "split.eval={fraction=0.5}").preprocess.split.eval.fraction == 0.5


def test_logs_end_is_utc(tmp_path):
    ends = ["2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00"]
    assert (
        len(
            {
                load(tmp_path, TOML, f"split.logs_end={end}").preprocess.split.logs_end
                for end in ends
            }
        )
        == 1
    )


def test_overrides(tmp_path):
    overrides = [
        "features.user.buckets=1_000",
        "split.immature=keep",
        'logs.clicks.files="x.csv"',
        "output.max_rejects=0.5",
        "run=r",
        "train.steps=5",
    ]
    loaded = load(tmp_path, TOML, *overrides)
    assert loaded.spec.features["user"].buckets == 1000
    assert loaded.preprocess.split.immature == "keep"
    assert loaded.preprocess.logs["clicks"].files == "x.csv"
    assert loaded.preprocess.output.max_rejects == 0.5
    assert (loaded.run, loaded.sections.train) == (Path("r"), {"steps": 5})


@pytest.mark.parametrize(
    ("override", "match"),
    [
        (
            "train.steps",
            r"^--set train\.steps: must be section\.key=value, as in train\.steps=1000$",
        ),
        ("=5", r"must be section\.key=value"),
        ("train.=5", r"must be section\.key=value"),
        ("train..steps=5", r"^--set train\.\.steps=5: must be section\.key=value"),
        ("trian.steps=5", r"unknown key 'trian': did you mean 'train'\?"),
        ("rn=x", r"^--set rn=x: unknown section 'rn': did you mean 'run'\?$"),
        (
            "features.user.buckets.x=5",
            r"^--set features\.user\.buckets\.x=5: features\.user\.buckets is 100, which holds "
            r"no keys$",
        ),
        (
            "features.user.bucket=5",
            r"^features\.user: unknown key 'bucket': did you mean 'buckets'\?$",
        ),
        ("features.user.buckets=many", r"^features\.user\.buckets = 'many': "),
        ("split.eval=", r"^split\.eval = '': "),
        ("logs=5", r"^logs = 5: "),
    ],
)
def test_overrides_that_are_refused(tmp_path, override, match):
    fails(match, tmp_path, TOML, override)


def test_the_resolved_configuration_means_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load(tmp_path, TOML, "split.logs_end=2026-01-01T00:00:00", "simulate.days=3")
    loaded.save()
    saved = tmp_path / "runs" / "my" / "config.toml"
    again = config.load(saved)
    assert again.preprocess == loaded.preprocess
    assert again.simulate == loaded.simulate
    assert (again.model, again.train, again.evaluation) == (
        loaded.model,
        loaded.train,
        loaded.evaluation,
    )
    assert again.run == loaded.run
    content = tomllib.loads(saved.read_text())
    assert content["labels"]["click"]["within"] == "30m"
    assert content["output"]["max_rejects"] == 0.01  # a default, filled in


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parent.parent / "funnel" / "examples").glob("*.toml")),
    ids=lambda p: p.name,
)
def test_every_example_is_valid(path):
    assert config.load(path).preprocess.spec.tasks


def test_each_section_is_parsed_once(tmp_path):
    loaded = load(tmp_path)
    for name in ("spec", "preprocess", "evaluation", "exporters", "warm_start", "run_config"):
        assert getattr(loaded, name) is getattr(loaded, name)
    assert loaded.preprocess.spec is loaded.spec
