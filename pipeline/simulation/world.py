"""The simulated users and items, and p(click) and p(convert | click) of an impression.

With a, b the affinities of user and item (mean 0, variance 1, uncorrelated), ρ the correlation and
ε ~ N(0, 1) a hidden factor:

    logit p(click)           = α + signal·a                    + selection·ε − ½·ln(position)
                                 + 0.3·cos(2π(hour − 20)/24)
    logit p(convert | click) = β + signal·(ρ·a + √(1 − ρ²)·b) + selection·ε
                                 − 0.4·(ln(price) − 3)/0.8

No column holds ε, so with selection > 0 clicked impressions convert more than their features say. α
and β are solved so that the means over all impressions are `ctr` and `cvr`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from features.kinds.lists import from_lengths
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.files import DAY

SAMPLE_ROWS = 100_000  # impressions drawn to standardize the affinities and to solve α and β
DIM = 8  # latent factors: the first half for clicks, the second for conversions
# The cumulative traffic of a day, by the hour.
TRAFFIC = np.cumsum([0, *(1 + 0.6 * np.cos(2 * np.pi * (np.arange(24) - 20) / 24))]) / 24
# Impressions before any outcome: ts, user, item, device, position and hidden, each [n].
Shown = dict[str, np.ndarray]
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


@dataclass(frozen=True)
class Side:
    """All users or all items.

    Attributes:
        columns: their columns in the log.
        popularity: cumulative.
        latent: factors [N, DIM].
        effects: their own effects [N, 2] on click and conversion.
    """

    columns: pa.RecordBatch
    popularity: np.ndarray
    latent: np.ndarray
    effects: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The numbers of n of them, drawn by popularity."""
        drawn: np.ndarray = np.searchsorted(self.popularity, rng.random(n), side="right")
        return drawn


def _zipf(n: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, n + 1) ** -exponent
    cumulative: np.ndarray = np.cumsum(weights[:-1]) / weights.sum()
    return cumulative


def _names(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(prefix, numbers.astype(str)))


def _clustered(rng: np.random.Generator, n: int, centers: int) -> tuple[np.ndarray, np.ndarray]:
    """Latent factors of variance 1 around random centers, and the nearest center of each."""
    center = rng.standard_normal((centers, DIM))
    latent = 0.8 * center[rng.integers(centers, size=n)] + 0.6 * rng.standard_normal((n, DIM))
    return latent, nearest_center(latent, 0.8 * center)


def nearest_center(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """argmin_c |x − c|² = argmin_c (|c|² − 2·x·c), for points [N, D] and centers [C, D] → [N]."""
    nearest: np.ndarray = np.argmin((centers**2).sum(1) - 2 * points @ centers.T, axis=1)
    return nearest


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
    advertiser = nearest_center(latent, latent[rng.choice(n, min(n, 60), replace=False)])
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
    """Draws 0 to 4 tags for each item, those nearest to its latent factors after noise and a skew;
    returns them and the mean of their effects [N, 2].
    """
    n, vocabulary = len(latent), len(TAGS)
    liking = 0.5 * latent @ rng.standard_normal((DIM, vocabulary)) + rng.gumbel(
        size=(n, vocabulary)
    )
    best = np.argsort(-(liking - 1.5 * np.log(np.arange(vocabulary) + 1)), axis=1)[:, :4]  # [N, 4]
    counts = rng.integers(0, 5, n)
    kept = np.arange(4) < counts[:, None]  # [N, 4]
    tags = from_lengths(counts, TAGS.take(pa.array(best[kept])))
    effects = 0.6 * rng.standard_normal((vocabulary, 2))[best] * kept[:, :, None]  # [N, 4, 2]
    return tags, effects.sum(1) / np.maximum(counts, 1)[:, None]


def logits(
    config: SimulateConfig, *, a: Any, b: Any, hidden: Any, position: Any, hour: Any, log_price: Any
) -> np.ndarray:
    """[n, 2]: the two equations at the top of this file without α and β, of [n] each."""
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
    p: np.ndarray = 1 / (1 + np.exp(-x))
    return p


def solve_intercept(x: np.ndarray, rate: float) -> float:
    """The α at which mean σ(α + x) = rate, by bisection, since the mean grows with α."""
    low, high = float(-50.0 - x.max()), float(50.0 - x.min())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(middle + x).mean() < rate else (low, middle)
    return (low + high) / 2


class World:
    """Users, items and the solved constants, which all impressions share."""

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
        """[n, 2]: the product of the latent factors, half by half, plus the effects of user, item
        and device.
        """
        user, item = shown["user"], shown["item"]
        products = (self.users.latent[user] * self.items.latent[item]).reshape(-1, 2, DIM // 2)
        affinities: np.ndarray = (
            products.sum(2) / np.sqrt(DIM // 2)
            + self.users.effects[user]
            + self.items.effects[item]
            + self.device_effects[shown["device"]]
        )
        return affinities

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
    """Draws n ordered times since midnight, most of them in the evening."""
    return np.sort(np.interp(rng.random(n), TRAFFIC, np.arange(25) * DAY // 24)).astype(np.int64)
