"""Selects compute precision and XLA."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from model.training.config import Precision

AMPERE = (8, 0)  # the first GPUs with bfloat16 products
POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}  # Keras' names


@dataclass(frozen=True)
class Mode:
    """How a step is computed.

    Args:
        precision: of matrix products; weights and tables are always float32.
        xla: whether XLA compiles the step.
        reason: why it was selected.
    """

    precision: str
    xla: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.precision}{' with XLA' if self.xla else ''} ({self.reason})"


def choose(precision: Precision, xla: bool) -> Mode:
    """Selects the mode of this machine.

    "auto" is bfloat16 where the machine has bfloat16 products (AVX512-BF16, AMX, or a GPU of
    compute capability 8.0), else float32. XLA is used only where it is configured: on a processor
    it has no bfloat16 products, and in float32 it is not faster.
    """
    if precision != "auto":
        return Mode(precision, xla, "as configured")
    fast = _bfloat16()
    return Mode(
        "bfloat16" if fast else "float32", xla, fast or "the device has no bfloat16 products"
    )


def _bfloat16() -> str:
    """What computes bfloat16 products on this machine; "" where nothing does."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get(
            "compute_capability", (0, 0)
        )
        return (
            f"GPU of compute capability {'.'.join(map(str, capability))}"
            if capability >= AMPERE
            else ""
        )
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return next(
        (
            name
            for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"))
            if flag in flags
        ),
        "",
    )


@contextlib.contextmanager
def policy(precision: str) -> Iterator[None]:
    """Layers made inside the block compute in `precision`; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
