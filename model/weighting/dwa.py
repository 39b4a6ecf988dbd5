"""Weights that follow how fast each loss falls."""

from __future__ import annotations

import tensorflow as tf

from model.settings.weighting import DWAParams
from model.weighting.base import Weighting


class DWA(Weighting):
    """w_k(t) = K · softmax_k(r_k(t) / T), r_k(t) = L_k(t − 1) / L_k(t − 2): a loss that falls
    slowly weighs more.

    t counts periods of `period` steps. Their mean losses, over the batches with rows of the
    objective, are compared; all weights are 1 until two periods are over. T is `temperature`. Liu,
    Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, where a period is
    an epoch.
    """

    Params = DWAParams
    params: DWAParams

    def __init__(self, params: DWAParams, objectives: list[str]) -> None:
        super().__init__(params, objectives)
        nothing = tf.zeros([len(objectives)])
        self.step = self._kept(tf.zeros([], tf.int64), "step")
        self.sums, self.batches, self.last, self.before = (
            self._kept(nothing, name) for name in ("sums", "batches", "last", "before")
        )

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {
            "step": self.step,
            "sums": self.sums,
            "batches": self.batches,
            "last": self.last,
            "before": self.before,
        }

    def current(self) -> tf.Tensor:
        count = len(self.objectives)
        weights = count * tf.nn.softmax(
            tf.math.divide_no_nan(self.last, self.before) / self.params.temperature
        )
        return tf.where(self.step >= 2 * self.params.period, weights, tf.ones([count]))

    def advance(self, losses: tf.Tensor, present: tf.Tensor) -> None:
        step, sums, last = self.step + 1, self.sums + losses, self.last.read_value()
        batches = self.batches + tf.cast(present, tf.float32)
        over = step % self.params.period == 0
        self.before.assign(tf.where(over, last, self.before))
        self.last.assign(tf.where(over, tf.math.divide_no_nan(sums, batches), last))
        self.sums.assign(tf.where(over, tf.zeros_like(sums), sums))
        self.batches.assign(tf.where(over, tf.zeros_like(sums), batches))
        self.step.assign(step)
