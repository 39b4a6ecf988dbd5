"""Simulates three event logs whose truth is known: p(click), p(convert | click) and an outcome for
every impression.

With a, b the affinities of user and item (mean 0, variance 1, uncorrelated), ρ the correlation and
ε ~ N(0, 1) a hidden factor:

    logit p(click)           = α + signal·a                    + selection·ε − ½·ln(position) +
    0.3·cos(2π(hour − 20)/24) logit p(convert | click) = β + signal·(ρ·a + √(1 − ρ²)·b) +
    selection·ε − 0.4·(ln(price) − 3)/0.8

No column holds ε, so with selection > 0 clicked impressions convert more than their features say. α
and β are solved so that the means over all impressions are `ctr` and `cvr`. A conversion's time
counts from its click. Events after the end of the logs (start + days + trailing) are not logged, as
in life: of the late events only those inside the logs appear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, NonNegativeFloat, PositiveInt

from features.files import staging
from features.settings import Duration, microseconds
from pipeline.simulation.files import (
    DAY,
    PART_ROWS,
    TIME,
    LogConfig,
    LogFiles,
    Rate,
    check_out,
    impression_ids,
)

Probability = Annotated[float, Field(gt=0, lt=1)]
SAMPLE_ROWS = 100_000  # impressions drawn to standardise the affinities and to solve α and β
DIM = 8  # latent factors: the first half for clicks, the second for conversions
TRAFFIC = (
    np.cumsum([0, *(1 + 0.6 * np.cos(2 * np.pi * (np.arange(24) - 20) / 24))]) / 24
)  # of a day, by the hour
TRUTH = {
    "impression_id": pa.string(),
    "p_click": pa.float64(),
    "p_convert_given_click": pa.float64(),
}
TRUTH |= {
    "clicked": pa.int8(),
    "converts": pa.int8(),
}  # converts: drawn for every impression, clicked or not
Progress = Callable[[int, int], None]
Shown = dict[
    str, np.ndarray
]  # impressions before any outcome: ts, user, item, device, position and hidden, each [n]
DEVICES = pa.array(["phone", "desktop", "tablet", "tv"])
COUNTRIES = pa.array(
    ["Deutschland", "Österreich", "France", "España", "日本", "Brasil", "Ελλάδα", "Canada"]
)
TAGS = pa.array(
    [
        "sale",
        "new",
        "eco",
        "été",
        "vélo",
        "茶",
        "кофе",
        "jazz",
        "retro",
        "sport",
        "kids",
        "größe",
        "cámara",
        "5g",
        "déco",
    ]
)


class SimulateConfig(LogConfig):
    """What to simulate: the truth and the defects of its logs."""

    users: PositiveInt = Field(10_000, description="drawn by Zipf's law, exponent 0.6")
    items: PositiveInt = Field(2_000, description="drawn by Zipf's law, exponent 0.9")
    ctr: Probability = Field(0.1, description="mean p(click) over all impressions")
    cvr: Probability = Field(
        0.1, description="mean p(convert | click) over all impressions, clicked or not"
    )
    correlation: float = Field(
        0.5, ge=-1, le=1, description="ρ, between what makes click and what makes convert"
    )
    selection: NonNegativeFloat = Field(
        0.5, description="weight of the hidden factor in both logits"
    )
    signal: NonNegativeFloat = Field(1.2, description="weight of the affinities in both logits")
    click_delay: Duration = Field(
        timedelta(seconds=30), description="mean time from impression to click (exponential)"
    )
    conversion_delay: Duration = Field(
        timedelta(hours=6), description="mean time from click to conversion (exponential)"
    )
    late_by: Duration = Field(
        timedelta(days=4), description="added to the delay of a late event: longer than any window"
    )
    late: Rate = Field(0.01, description="rate of events delayed by `late_by`")


@dataclass(frozen=True)
class Side:
    """All users or all items: their columns, popularity (cumulative), latent factors [N, DIM] and
    own effects [N, 2].
    """

    columns: pa.RecordBatch
    popularity: np.ndarray
    latent: np.ndarray
    effects: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.searchsorted(self.popularity, rng.random(n), side="right")


def _zipf(n: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, n + 1) ** -exponent
    return np.cumsum(weights[:-1]) / weights.sum()


def _names(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(prefix, numbers.astype(str)))


def _clustered(rng: np.random.Generator, n: int, centres: int) -> tuple[np.ndarray, np.ndarray]:
    """Latent factors of variance 1 around random centres, and the centre nearest to each."""
    centre = rng.standard_normal((centres, DIM))
    latent = 0.8 * centre[rng.integers(centres, size=n)] + 0.6 * rng.standard_normal((n, DIM))
    return latent, nearest_centre(latent, 0.8 * centre)


def nearest_centre(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """argmin_c |x − c|² = argmin_c (|c|² − 2·x·c), for points [N, D] and centres [C, D] → [N]."""
    return np.argmin((centres**2).sum(1) - 2 * points @ centres.T, axis=1)


def _users(rng: np.random.Generator, n: int) -> Side:
    latent, segment = _clustered(rng, n, 8)
    country = np.minimum(rng.geometric(0.35, n) - 1, len(COUNTRIES) - 1)
    age = np.clip(rng.normal(40, 14, n).round(), 16, 90).astype(np.int64)
    youth = (40 - age[:, None]) / 14
    effects = (
        0.3 * rng.standard_normal((len(COUNTRIES), 2))[country]
        + youth * [0.3, -0.2]
        + 0.3 * rng.standard_normal((n, 2))
    )
    columns = {
        "user_id": _names("u", np.arange(n)),
        "user_segment": _names("segment-", segment),
        "country": COUNTRIES.take(pa.array(country)),
        "user_age": pa.array(age, mask=rng.random(n) < 0.1),
    }
    return Side(pa.RecordBatch.from_pydict(columns), _zipf(n, 0.6), latent, effects)


def _items(rng: np.random.Generator, n: int) -> Side:
    latent, category = _clustered(rng, n, 12)
    advertiser = nearest_centre(latent, latent[rng.choice(n, min(n, 60), replace=False)])
    tags, tag_effects = _tags(rng, latent)
    effects = (
        tag_effects
        + 0.4 * rng.standard_normal((12, 2))[category]
        + 0.4 * rng.standard_normal((n, 2))
    )
    columns = {
        "item_id": pa.array(np.arange(n) + 1_000),
        "category": _names("category-", category),
        "advertiser_id": _names("advertiser-", advertiser),
        "tags": tags,
        "price": pa.array(np.exp(rng.normal(3, 0.8, n)).round(2).clip(0.01)),
    }
    return Side(pa.RecordBatch.from_pydict(columns), _zipf(n, 0.9), latent, effects)


def _tags(rng: np.random.Generator, latent: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """0 to 4 tags an item, those nearest to its latent factors after noise and a skew; and the mean
    of their effects [N, 2].
    """
    n, vocabulary = len(latent), len(TAGS)
    liking = 0.5 * latent @ rng.standard_normal((DIM, vocabulary)) + rng.gumbel(
        size=(n, vocabulary)
    )
    best = np.argsort(-(liking - 1.5 * np.log(np.arange(vocabulary) + 1)), axis=1)[:, :4]  # [N, 4]
    counts = rng.integers(0, 5, n)
    kept = np.arange(4) < counts[:, None]  # [N, 4]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    tags = pa.ListArray.from_arrays(offsets, TAGS.take(pa.array(best[kept])))
    effects = 0.6 * rng.standard_normal((vocabulary, 2))[best] * kept[:, :, None]  # [N, 4, 2]
    return tags, effects.sum(1) / np.maximum(counts, 1)[:, None]


def logits(
    config: SimulateConfig, *, a: Any, b: Any, hidden: Any, position: Any, hour: Any, log_price: Any
) -> np.ndarray:
    """The two equations at the top of this file without α and β: [n] each → [n, 2]."""
    v = config.correlation * a + np.sqrt(1 - config.correlation**2) * b
    shared = config.selection * hidden
    click = (
        config.signal * a
        + shared
        - 0.5 * np.log(position)
        + 0.3 * np.cos(2 * np.pi * (hour - 20) / 24)
    )
    return np.stack([click, config.signal * v + shared - 0.4 * (log_price - 3) / 0.8], axis=-1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def solve_intercept(x: np.ndarray, rate: float) -> float:
    """The α at which mean σ(α + x) = rate, by bisection: the mean grows with α."""
    low, high = -50.0 - x.max(), 50.0 - x.min()
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(middle + x).mean() < rate else (low, middle)
    return (low + high) / 2


class World:
    """Users, items and the solved constants: all that impressions share."""

    def __init__(self, config: SimulateConfig) -> None:
        self.config, rng = config, np.random.default_rng([config.seed, 0])
        self.users, self.items = _users(rng, config.users), _items(rng, config.items)
        self.log_price = np.log(self.items.columns.column("price").to_numpy())
        self.device_effects = 0.4 * rng.standard_normal((len(DEVICES), 2))
        sample = self.show(rng, times_of_day(rng, SAMPLE_ROWS))
        raw = self._raw_affinities(sample)
        self.mean = raw.mean(0)
        self.whiten = np.linalg.inv(
            np.linalg.cholesky(np.cov(raw.T) + 1e-9 * np.eye(2))
        ).T  # [2, 2]
        click, convert = self.logits(sample).T
        self.intercepts = np.array(
            [solve_intercept(click, config.ctr), solve_intercept(convert, config.cvr)]
        )

    def show(self, rng: np.random.Generator, ts: np.ndarray) -> Shown:
        n = len(ts)
        shown = {
            "ts": ts,
            "user": self.users.draw(rng, n),
            "item": self.items.draw(rng, n),
            "position": rng.integers(1, 11, n),
        }
        return shown | {
            "device": np.searchsorted([0.6, 0.9, 0.97], rng.random(n)),
            "hidden": rng.standard_normal(n),
        }

    def _raw_affinities(self, shown: Shown) -> np.ndarray:
        """Product of the latent factors, half by half, + effects of user, item and device: [n, 2]."""
        user, item = shown["user"], shown["item"]
        match = (self.users.latent[user] * self.items.latent[item]).reshape(-1, 2, DIM // 2).sum(
            2
        ) / np.sqrt(DIM // 2)
        return (
            match
            + self.users.effects[user]
            + self.items.effects[item]
            + self.device_effects[shown["device"]]
        )

    def logits(self, shown: Shown) -> np.ndarray:  # [n, 2], without α and β
        a, b = ((self._raw_affinities(shown) - self.mean) @ self.whiten).T
        hour, price = shown["ts"] % DAY * 24 / DAY, self.log_price[shown["item"]]
        return logits(
            self.config,
            a=a,
            b=b,
            hidden=shown["hidden"],
            position=shown["position"],
            hour=hour,
            log_price=price,
        )

    def columns(self, shown: Shown) -> dict[str, pa.Array]:
        users, items = (
            side.columns.take(pa.array(rows))
            for side, rows in ((self.users, shown["user"]), (self.items, shown["item"]))
        )
        own = {
            "device_type": DEVICES.take(pa.array(shown["device"])),
            "position": pa.array(shown["position"]),
        }
        return {
            name: batch.column(name) for batch in (users, items) for name in batch.schema.names
        } | own


def times_of_day(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ordered times since midnight, most of them in the evening."""
    return np.sort(np.interp(rng.random(n), TRAFFIC, np.arange(25) * DAY // 24)).astype(np.int64)


def simulate(
    config: SimulateConfig,
    out: Path,
    *,
    on_progress: Progress | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes impressions/, clicks/, conversions/ (by day), truth.parquet and simulation.json;
    returns the last one's content.

    `on_progress(done, total)` counts impressions. Raises FunnelError if `out` exists, unless
    `overwrite` and it is a simulation.
    """
    check_out(out, overwrite=overwrite)
    with staging(out) as folder:
        files, world = LogFiles(folder, config), World(config)
        with pq.ParquetWriter(folder / "truth.parquet", pa.schema(TRUTH)) as truth:
            for day in range(files.days):
                for part, first, ts in _parts(config, day):
                    truth.write_table(
                        _write_part(
                            world, files, day=day, part=part, first=first, ts=files.start + ts
                        )
                    )
                    if on_progress:
                        on_progress(first + len(ts), config.impressions)
                files.write_events(day)
        result = files.counts | {"config": config.model_dump(mode="json", exclude={"out"})}
        (folder / "simulation.json").write_text(
            json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        )
    return result


def _parts(config: SimulateConfig, day: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(part, its first row number, its times since `start`, ordered) of one day; none in the
    trailing days.
    """
    first, last = (config.impressions * min(d, config.days) // config.days for d in (day, day + 1))
    ts = day * DAY + times_of_day(np.random.default_rng([config.seed, 3, day]), last - first)
    for part, i in enumerate(range(0, len(ts), PART_ROWS)):
        yield part, first + i, ts[i : i + PART_ROWS]


def _write_part(
    world: World, files: LogFiles, *, day: int, part: int, first: int, ts: np.ndarray
) -> pa.Table:
    """Draws consecutive impressions and their events, hands them to `files`, and returns their
    truth.
    """
    config, rng = world.config, np.random.default_rng([world.config.seed, 1, day, part])
    shown = world.show(rng, ts)
    p = sigmoid(world.intercepts + world.logits(shown))  # [n, 2]
    clicked, converts = (rng.random(p.shape) < p).T
    ids = impression_ids(first + np.arange(len(ts)), config.seed)
    files.write(
        "impressions",
        day,
        part,
        pa.table({"impression_id": ids, "ts": pa.array(ts, TIME), **world.columns(shown)}),
    )
    click = np.flatnonzero(clicked)
    click_ts, late = _delayed(rng, config, ts[click], config.click_delay)
    files.add_events("clicks", late, impression_id=ids.take(pa.array(click)), ts=click_ts)
    bought = converts[click]
    convert = click[bought]
    convert_ts, late = _delayed(rng, config, click_ts[bought], config.conversion_delay)
    value = np.exp(
        world.log_price[shown["item"][convert]] + rng.normal(0, 0.2, len(convert))
    ).round(2)
    files.add_events(
        "conversions", late, impression_id=ids.take(pa.array(convert)), ts=convert_ts, value=value
    )
    return pa.table(
        [ids, p[:, 0], p[:, 1], clicked.astype(np.int8), converts.astype(np.int8)],
        schema=pa.schema(TRUTH),
    )


def _delayed(
    rng: np.random.Generator, config: SimulateConfig, ts: np.ndarray, mean: timedelta
) -> tuple[np.ndarray, np.ndarray]:
    """ts + 1 µs + an exponential delay (+ late_by, at the rate `late`), and which are late."""
    late = rng.random(len(ts)) < config.late
    delay = rng.exponential(microseconds(mean), len(ts)).astype(np.int64)
    return ts + 1 + delay + late * microseconds(config.late_by), late
