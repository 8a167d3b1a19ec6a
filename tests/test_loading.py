# SPDX-License-Identifier: BSD-3-Clause
"""What 1x1 convolutions take over from the step before them, and the average that comes before them, not after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import nn, reference

RNG = np.random.default_rng(5)


def _array(*shape: int) -> Any:
    return RNG.standard_normal(shape, dtype=np.float32)


def _norm(channels: int) -> tuple[Any, ...]:
    return _array(channels), np.abs(_array(channels)) + 0.5, _array(channels), _array(channels)


W1, W2, B1 = _array(40, 24, 1, 1), _array(24, 40, 1, 1), _array(40)
NORM = _norm(24)
GATE = _array(2, 24, 1, 1)


def _operations(engine: Any) -> list[str]:
    return [step.op for step in engine.steps if step.op != "copy"]


def _pointwise(model: Any, size: tuple[int, ...]) -> Any:
    """An engine whose convolutions are all of one algorithm, so that they add in one order."""
    layers = [step.layer for step in cnnkern.compile(model, size).steps if step.multiply_adds]
    return cnnkern.compile(model, size, algorithms=dict.fromkeys(layers, "pointwise"))


def _normalized(x: Any) -> Any:
    return F.relu(F.batch_norm(F.abs(x), *NORM))


def _gated(x: Any) -> Any:
    x = F.abs(x)
    return F.multiply(x, F.sigmoid(F.conv2d(F.relu(F.conv2d(F.adaptive_avg_pool2d(x, 1), W1, B1)), W2)))


@pytest.mark.parametrize("before", [_normalized, _gated], ids=["norm", "gate"])
@pytest.mark.parametrize("readers", [1, 2])
def test_scaled_pixels_have_the_bits_of_separate_steps(before: Any, readers: int) -> None:
    """An output of the network cannot be scaled on load, so the second network keeps the step."""

    def after(y: Any) -> Any:
        return tuple(F.conv2d(y, w, B1) for w in (W1, 2 * W1)[:readers])

    x = _array(2, 24, 9, 7)
    fused = _pointwise(lambda x: after(before(x)), x.shape)
    apart = _pointwise(lambda x: (after(y := before(x)), y), x.shape)
    assert _operations(fused).count("conv2d_scaled") == readers
    assert "conv2d_scaled" not in _operations(apart)
    for got, want in zip(fused(x), apart(x)[0], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "after",
    [
        lambda y: F.conv2d(y, _array(8, 24, 3, 3), padding=1),
        lambda y: F.conv2d(y, W1, padding=1),
        lambda y: F.conv2d(y, _array(24, 1, 1, 1), groups=24),
        lambda y: F.max_pool2d(y, 2),
        lambda y: (F.conv2d(y, W1), F.max_pool2d(y, 2)),
        lambda y: (F.conv2d(y, W1), F.conv2d(y, W1), F.conv2d(y, W1)),
    ],
)
def test_other_readers_leave_the_step(after: Any) -> None:
    assert "conv2d_scaled" not in _operations(cnnkern.compile(lambda x: after(_normalized(x)), (1, 24, 6, 6)))


def test_a_map_that_is_no_gate_is_not_loaded() -> None:
    other = _array(1, 24, 6, 6)
    engine = cnnkern.compile(lambda x: F.conv2d(F.multiply(F.abs(x), other), W1), (1, 24, 6, 6))
    assert "conv2d_scaled" not in _operations(engine)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 24, 7, 7), (3, 24, 31, 17)])
def test_any_image_size_and_number_of_threads(size: tuple[int, ...], threads: int) -> None:
    engine = cnnkern.compile(lambda x: F.conv2d(_normalized(x), W1, B1, 2), (1, 24, 14, 14), threads=threads)
    x = _array(*size)
    y = np.maximum(reference.batch_norm(np.abs(x), *NORM, eps=1e-5), 0)
    want = reference.conv2d(y, W1, B1, stride=(2, 2))
    np.testing.assert_allclose(engine(x), want, rtol=1e-4, atol=1e-4)


def test_layer_keeps_its_name() -> None:
    model = nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1, rng=0))
    engine = cnnkern.compile(model, (1, 16, 8, 8))
    (step,) = [step for step in engine.steps if step.multiply_adds]
    assert (step.layer, step.op, step.algorithm) == ("2", "conv2d_scaled", "pointwise")


def _pooled(x: Any, **pooling: Any) -> Any:
    return F.avg_pool2d(F.conv2d(x, W1, B1), 2, **pooling)


def _result_of_convolution(engine: Any) -> Any:
    (step,) = [step for step in engine.steps if step.multiply_adds]
    return step.shapes[4]


@pytest.mark.parametrize("size", [(1, 24, 8, 8), (2, 24, 9, 7)])
def test_pooling_comes_before_the_convolution(size: tuple[int, ...]) -> None:
    engine = cnnkern.compile(_pooled, size)
    pixels = size[2] // 2, size[3] // 2
    assert _result_of_convolution(engine) == (size[0], 40, *pixels)
    x = _array(*size)
    wide = reference.conv2d(x, W1, B1)
    want = reference.avg_pool2d(
        wide,
        kernel=(2, 2),
        stride=(2, 2),
        padding=((0, 0), (0, 0)),
        output_size=pixels,
        count_include_pad=True,
        divisor=0,
    )
    np.testing.assert_allclose(engine(x), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: _pooled(x, padding=1),
        lambda x: _pooled(x, ceil_mode=True),
        lambda x: _pooled(x, divisor_override=3),
        lambda x: _pooled(x, stride=1),
        lambda x: F.avg_pool2d(F.relu(F.conv2d(x, W1, B1)), 2),
        lambda x: F.avg_pool2d(F.conv2d(x, W1, B1, 2), 2),
    ],
    ids=["padding", "beyond the map", "divisor", "no fewer pixels", "activation", "stride"],
)
def test_pooling_that_is_no_mean_of_results_stays_behind(model: Any) -> None:
    engine = cnnkern.compile(model, (1, 24, 9, 9))
    assert [step.op for step in engine.steps if step.op in ("conv2d", "avg_pool2d")] == ["conv2d", "avg_pool2d"]


def test_explain_shows_the_result() -> None:
    engine = cnnkern.compile(lambda x: F.conv2d(_gated(x), W1), (2, 24, 9, 7))
    (line,) = [line for line in str(engine.explain(repeats=0)).splitlines() if "conv2d_scaled" in line]
    assert "2x40x9x7" in line
