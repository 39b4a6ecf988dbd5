"""The synthetic regression of the MMoE paper: two tasks whose weights have cosine p."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from features.errors import FunnelError
from funnel.console import table
from funnel.experiments.base import Experiment, Metrics, Results, figure, spread
from model.layers import MLP
from model.sharing.base import Sharing
from model.sharing.mmoe import MMoE
from model.sharing.moe import MoE
from model.sharing.shared_bottom import SharedBottom

HEADS = ["first", "second"]
EXPERTS = {"experts": 8, "expert_units": [16]}
MODELS: dict[str, tuple[type[Sharing], dict[str, Any]]] = {
    "shared_bottom": (SharedBottom, {"units": [113]}),
    "moe": (MoE, EXPERTS),
    "mmoe": (MMoE, EXPERTS),
}
CORRELATIONS = (0.5, 0.9, 1.0)
PUBLISHED = {  # read off figure 4
    "shared_bottom": {0.5: 0.255, 0.9: 0.222, 1.0: 0.200},
    "moe": {0.5: 0.145, 0.9: 0.118, 1.0: 0.078},
    "mmoe": {0.5: 0.083, 0.9: 0.081, 1.0: 0.070},
}
WIDTH = 100  # of x
SINES = 10
NOISE = 0.1
TOWER_UNITS = 8
STUCK = 0.5  # a loss above it is of a training that stayed in a poor minimum


@dataclass(frozen=True)
class Steps:
    """How long and how fast: Adam, its rate falling to 0 by a cosine; then the loss on `test_rows`
    fresh rows.
    """

    steps: int = 10_000
    batch_size: int = 256
    learning_rate: float = 0.01
    test_rows: int = 100_000


@dataclass(frozen=True)
class Task:
    """y_k = w_k·x + Σ_i sin(i·w_k·x + i) + ε, w_1 = u_1, w_2 = p·u_1 + √(1 − p²)·u_2, u_1 ⟂ u_2 of
    length 1, x ~ N(0, I), ε ~ N(0, 0.1²).

    Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, sec. 3.2, with c = 1 and α_i = β_i = i for i = 1 … 10, which come
    closest to its correlations of labels.
    """

    p: float
    seed: int

    @property
    def weights(self) -> np.ndarray:
        """w_1 and w_2: [100, 2]."""
        u = np.linalg.qr(np.random.default_rng(self.seed).standard_normal((WIDTH, 2)))[0]
        return np.stack([u[:, 0], self.p * u[:, 0] + np.sqrt(1 - self.p**2) * u[:, 1]], 1)

    def rows(self, count: int, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x [count, 100] and y [count, 2] of batch `number`, the same for every p but for w_2."""
        drawn = tf.random.stateless_normal(
            [count, WIDTH + len(HEADS)], tf.stack([self.seed, number])
        )
        x, noise = drawn[:, :WIDTH], drawn[:, WIDTH:]
        z = x @ tf.constant(self.weights, tf.float32)
        i = tf.range(1, SINES + 1, dtype=tf.float32)
        return x, z + tf.reduce_sum(tf.sin(i * z[:, :, tf.newaxis] + i), 2) + NOISE * noise


class Learner:
    """A model x → [B, 2] and its optimizer. The seed alone decides its first weights."""

    def __init__(self, model: str, seed: int, steps: Steps) -> None:
        keras.utils.set_random_seed(seed)
        kind, options = MODELS[model]
        x = keras.Input([WIDTH])
        shared = kind(options, HEADS)(x)
        outputs = [keras.layers.Dense(1)(MLP([TOWER_UNITS])(shared[head])) for head in HEADS]
        self.model = keras.Model(x, keras.layers.Concatenate()(outputs))
        self.optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(steps.learning_rate, steps.steps)
        )
        self.optimizer.build(self.model.trainable_variables)

    def step(self, x: tf.Tensor, y: tf.Tensor) -> None:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.loss(x, y))
        self.optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    def loss(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The mean squared error of each task [2]."""
        return tf.reduce_mean((self.model(x) - y) ** 2, 0)


def train(models: Sequence[str], p: float, seed: int, steps: Steps) -> dict[str, float]:
    """The final loss of each model, a mean of the two tasks. All models are trained on the same
    batches.
    """
    task, learners = Task(p, seed), {model: Learner(model, seed, steps) for model in models}

    def learn() -> None:
        for number in tf.range(steps.steps):
            x, y = task.rows(steps.batch_size, number)
            for learner in learners.values():
                learner.step(x, y)

    tf.function(learn)()
    x, y = task.rows(steps.test_rows, tf.constant(steps.steps))
    return {model: float(tf.reduce_mean(learner.loss(x, y))) for model, learner in learners.items()}


@dataclass(frozen=True)
class MMoESynthetic(Experiment):
    """Claim: MMoE's loss does not depend on p; OMoE (moe) is worse than MMoE as p falls and equal
    at 1; shared bottom is the worst.
    """

    training: Steps = Steps()

    def __post_init__(self) -> None:
        if self.config:
            raise FunnelError(
                f"--config {self.config}: mmoe-synthetic draws its own data and reads no "
                "configuration; leave it out"
            )

    @property
    def groups(self) -> list[list[str]]:
        return [[f"{model}@{p}" for model in MODELS] for p in CORRELATIONS]

    def describe(self, setting: str) -> dict[str, Any]:
        return asdict(self.training) | {
            "options": MODELS[setting.split("@")[0]][1],
            "sines": SINES,
            "noise": NOISE,
        }

    def measure(self, settings: Sequence[str], seed: int) -> Iterator[tuple[str, Metrics]]:
        p = settings[0].split("@")[1]
        losses = train(
            [setting.split("@")[0] for setting in settings], float(p), seed, self.training
        )
        for model, loss in losses.items():
            yield f"{model}@{p}", {"loss": loss, "stuck": float(loss > STUCK)}

    def show(self, results: Results) -> None:
        rows, summary = [], results.summary()
        for model in MODELS:
            for p in CORRELATIONS:
                found = summary.get(f"{model}@{p}")
                if found:
                    loss, stuck = found["loss"], found["stuck"]
                    counted = f"{round(stuck['mean'] * stuck['n'])} of {stuck['n']}"
                    rows.append(
                        [
                            model,
                            str(p),
                            spread(loss, 3),
                            f"{loss['median']:.3f}",
                            counted,
                            f"{PUBLISHED[model][p]:.3f}",
                        ]
                    )
        table(
            "Final loss",
            ["model", "p", "mean ± std", "median", f"loss > {STUCK}", "paper"],
            rows,
        )

    def draw(self, results: Results) -> Figure:
        """Every seed a point, the median a line, by p; the paper's figures crosses."""
        drawn, (axis,) = figure(1, width=7.5)
        for row, (model, published) in enumerate(PUBLISHED.items()):
            at = np.arange(len(CORRELATIONS)) + 0.16 * (row - 1)
            found = [results.values(f"{model}@{p}", "loss") for p in CORRELATIONS]
            color = f"C{row}"
            axis.plot(
                at,
                [np.median(losses) if losses else np.nan for losses in found],
                color=color,
                marker="_",
                markersize=14,
                label=model,
            )
            for where, losses in zip(at, found, strict=True):
                axis.plot([where] * len(losses), losses, ".", color=color, alpha=0.45)
            axis.plot(at, [published[p] for p in CORRELATIONS], "x", color=color)
        axis.plot([], [], "x", color="gray", label="the paper's mean")
        axis.set(
            yscale="log",
            xlabel="p, the cosine of the tasks' weights",
            ylabel="final loss",
            xticks=range(len(CORRELATIONS)),
        )
        axis.set_xticklabels([str(p) for p in CORRELATIONS])
        axis.set_title("Every seed (points) and their median (lines)")
        drawn.legend(loc="outside right upper", fontsize=8)
        return drawn
