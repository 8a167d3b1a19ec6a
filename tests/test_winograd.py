# SPDX-License-Identifier: BSD-3-Clause
"""Winograd's algorithm: chosen in compiled inference alone, off on request, as exact as documented."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import reference

RNG = np.random.default_rng(3)


def layer(channels: int, outputs: int, taps: int = 3) -> np.ndarray:
    scale = np.float32(np.sqrt(2 / (taps * taps * channels)))
    return RNG.standard_normal((outputs, channels, taps, taps), dtype=np.float32) * scale


def error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


@pytest.mark.parametrize("shape", [(1, 64, 20, 20), (2, 128, 13, 15), (1, 200, 7, 9)])
def test_error_against_direct_sums(shape, isa):
    """The promise of precision="fp32": rms error at most three times that of plain sums; F(2x2) is below them."""
    x, weight = np.maximum(RNG.standard_normal(shape, dtype=np.float32), 0), layer(shape[1], 48)
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    exact = reference.conv2d(x.astype(np.float64), weight.astype(np.float64), None, None, **geometry)
    plain = error(F.conv2d(x, weight, padding=1, algorithm="direct"), exact)
    small = error(F.conv2d(x, weight, padding=1, algorithm="winograd_2x2"), exact)
    large = error(F.conv2d(x, weight, padding=1, algorithm="winograd_4x4"), exact)
    print(f"rms error: direct {plain:.2e}, F(2x2) {small / plain:.2f} and F(4x4) {large / plain:.2f} times that")
    assert small < 1.2 * plain
    assert large < 3 * plain
    if isa == "avx512":
        rows = error(F.conv2d(x, weight, padding=1, algorithm="winograd_4x4_rows"), exact)
        print(f"by rows {rows / plain:.2f} times that")
        assert rows < 3 * plain


@pytest.mark.parametrize("shape", [(1, 64, 27, 27), (2, 130, 8, 9)])
@pytest.mark.parametrize(("algorithm", "taps", "stride", "most"), [("2x2_5x5", 5, 1, 3.0), ("2x2_stride2", 3, 2, 1.2)])
def test_error_of_other_windows(shape, algorithm, taps, stride, most, isa):
    x, weight = np.maximum(RNG.standard_normal(shape, dtype=np.float32), 0), layer(shape[1], 48, taps)
    same = taps // 2
    geometry = {"stride": (stride, stride), "padding": ((same, same), (same, same)), "dilation": (1, 1), "groups": 1}
    exact = reference.conv2d(x.astype(np.float64), weight.astype(np.float64), None, None, **geometry)
    plain = error(F.conv2d(x, weight, stride=stride, padding=same, algorithm="direct"), exact)
    found = error(F.conv2d(x, weight, stride=stride, padding=same, algorithm=f"winograd_{algorithm}"), exact)
    print(f"rms error: direct {plain:.2e}, {algorithm} {found / plain:.2f} times that")
    assert found < most * plain


def test_only_where_it_is_allowed():
    weight, x = layer(64, 64), RNG.standard_normal((1, 64, 56, 56), dtype=np.float32)

    def model(x):
        return F.relu(F.conv2d(x, weight, padding=1))

    names = {step.algorithm for step in cnnkern.compile(model, x.shape).steps}
    assert any(name.startswith("winograd") for name in names), names
    plain = cnnkern.compile(model, x.shape, winograd=False)
    assert not any(step.algorithm.startswith("winograd") for step in plain.steps)
    whole = np.round(x * 8).astype(np.float32)
    eager = F.conv2d(whole, np.round(weight * 64), padding=1)  # sums of integers are exact if nothing is rearranged
    assert np.array_equal(eager, np.round(eager))
    with pytest.raises(TypeError, match="winograd must be True or False"):
        cnnkern.compile(model, x.shape, winograd="no")


@pytest.mark.parametrize("shape", [(1, 64, 56, 56), (3, 40, 14, 14), (2, 256, 14, 13)])
def test_same_bits_for_any_number_of_threads(shape, isa):
    weight, bias = layer(shape[1], 72), RNG.standard_normal(72, dtype=np.float32)
    x, residual = (
        RNG.standard_normal(shape, dtype=np.float32),
        RNG.standard_normal((shape[0], 72, *shape[2:]), dtype=np.float32),
    )

    def model(x, residual):
        return F.relu(F.add(F.conv2d(x, weight, bias, padding=1), residual))

    results = [cnnkern.compile(model, (x.shape, residual.shape), threads=n)(x, residual) for n in (1, 2, 3, 4, 7)]
    assert all(np.array_equal(results[0], other) for other in results[1:])
    plain = cnnkern.compile(model, (x.shape, residual.shape), winograd=False)(x, residual)
    assert error(results[0], plain) < 3e-6


def test_infinity_stays_in_its_tiles():
    """Documented: a value that is not finite may reach all pixels of the tiles that read it, and no others."""
    weight, x = layer(16, 16), RNG.standard_normal((1, 16, 24, 24), dtype=np.float32)
    x[0, 3, 9, 9] = np.inf
    y = F.conv2d(x, weight, padding=1, algorithm="winograd_4x4")
    finite = np.isfinite(y[0]).all(axis=0)
    assert not finite[8:11, 8:11].any()
    assert finite[:4].all() and finite[16:].all() and finite[:, :4].all() and finite[:, 16:].all()


def test_other_image_sizes_share_the_packed_filters():
    weight = layer(64, 64)
    engine = cnnkern.compile(
        lambda x: F.conv2d(x, weight, padding=1), (1, 64, 56, 56), algorithms={"conv2d": "winograd_4x4"}
    )
    packed = engine.memory().packed
    for size in (13, 28, 40, 57):
        x = RNG.standard_normal((2, 64, size, size), dtype=np.float32)
        assert error(engine(x), F.conv2d(x, weight, padding=1)) < 3e-6
    assert engine.memory().packed == packed
