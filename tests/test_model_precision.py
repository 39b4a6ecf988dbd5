"""What "auto" stands for, by what the device can do; and float16's loss scale."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_estimator, write_data

from model.optimizers.loss_scale import LossScale
from model.training import precision


@pytest.mark.parametrize(
    ("found", "asked", "xla", "said"),
    [
        ("AMX", "auto", False, "bfloat16 (AMX)"),
        ("AVX512-BF16", "auto", True, "bfloat16 with XLA (AVX512-BF16)"),
        ("", "auto", False, "float32 (the device has no bfloat16 products)"),
        ("AMX", "float32", True, "float32 with XLA (as configured)"),
        ("", "bfloat16", False, "bfloat16 (as configured)"),
    ],
)
def test_choice(monkeypatch, found, asked, xla, said):
    monkeypatch.setattr(precision, "_bfloat16", lambda: found)
    assert str(precision.choose(asked, xla)) == said


@pytest.mark.parametrize(
    ("capability", "said"), [((8, 0), "GPU of compute capability 8.0"), ((7, 5), "")]
)
def test_gpus(monkeypatch, capability, said):
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["gpu"] if kind == "GPU" else []
    )
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability}
    )
    assert precision._bfloat16() == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("flags : sse amx_bf16 avx512_bf16", "AMX"),
        ("flags : avx512_bf16", "AVX512-BF16"),
        ("flags : avx2", ""),
    ],
)
def test_processors(monkeypatch, flags, said):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(precision.Path, "exists", lambda path: True)
    monkeypatch.setattr(precision.Path, "read_text", lambda path: flags)
    assert precision._bfloat16() == said


def test_the_loss_scale_halves_and_doubles():
    scale = LossScale()
    start = float(scale.value)
    scale.advance(tf.constant(False))
    assert float(scale.value) == start / 2
    for _ in range(2000):
        scale.advance(tf.constant(True))
    assert float(scale.value) == start


@pytest.mark.parametrize("mode", ["bfloat16", "float16"])
def test_half_precision_learns_the_same(tmp_path, mode):
    aucs = {}
    for name in ("float32", mode):
        write_data(tmp_path / name, train=600, evaluate=300)
        estimator = make_estimator(
            tmp_path / name, steps=150, precision=name, embedding_learning_rate=0.1
        )
        estimator.train()
        aucs[name] = [result["auc"] for result in estimator.evaluate().values() if "auc" in result]
    np.testing.assert_allclose(aucs[mode], aucs["float32"], atol=0.02)
