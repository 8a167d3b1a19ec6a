# SPDX-License-Identifier: BSD-3-Clause
"""The resampling and the draws below the transforms, against float64 definitions."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from augmentation import BORDERS, along_axes, by_points

from cnnkern.data._augment import render
from cnnkern.data._colours import recolour
from cnnkern.data._draws import add_normal, displacement, uniforms

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FILL = (10.0, 200.0, 33.5, 4.0)


def image(rng: Any, channels: int = 3, low: int = 1, high: int = 24) -> Any:
    height, width = rng.integers(low, high, 2)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def unchanged(channels: int) -> tuple[float, ...]:
    rows = np.eye(channels, channels + 1).ravel().tolist()
    return (*rows, *[-1e30] * channels, *[1e30] * channels)


def rendered(pixels: Any, size: tuple[int, int], after: Any, border: str, field: Any = None, before: Any = None) -> Any:
    channels = pixels.shape[2]
    out = np.full((channels, *size), np.nan, np.float32)
    render(pixels, out, after, field, before, BORDERS.index(border), FILL[:channels], unchanged(channels))
    return out


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_maps_of_axes(channels: int, border: str) -> None:
    rng = np.random.default_rng(channels)
    for _ in range(12):
        pixels = image(rng, channels)
        steps = np.exp(rng.uniform(-1.5, 1.5, 2)) * rng.choice([-1, 1], 2)
        offsets = rng.uniform(-1.2, 1.2, 2) * pixels.shape[:2]
        map = (float(steps[0]), 0.0, float(offsets[1]), 0.0, float(steps[1]), float(offsets[0]))
        size = int(rng.integers(1, 20)), int(rng.integers(1, 20))
        expected = along_axes(pixels, map, size, border, FILL[:channels])
        np.testing.assert_allclose(rendered(pixels, size, map, border), expected, atol=2e-4)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_maps(channels: int, border: str) -> None:
    rng = np.random.default_rng(channels)
    for _ in range(8):
        pixels = image(rng, channels)
        turn = rng.uniform(-1.6, 1.6, (2, 2))
        a, b, d, e = turn.ravel().tolist()
        c, f = (rng.uniform(-0.5, 1.2, 2) * pixels.shape[1::-1]).tolist()
        size = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        expected = by_points(pixels, (a, b, c, d, e, f), None, IDENTITY, size, border, FILL[:channels])
        np.testing.assert_allclose(rendered(pixels, size, (a, b, c, d, e, f), border), expected, atol=2e-3)


@pytest.mark.parametrize("border", BORDERS)
def test_displaced_maps(border: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(8):
        pixels = image(rng)
        field = rng.normal(0, 2, (2, *rng.integers(1, 15, 2))).astype(np.float32)
        after, before = (tuple((np.array(IDENTITY) + rng.normal(0, 0.3, 6)).tolist()) for _ in range(2))
        size = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        expected = by_points(pixels, after, field, before, size, border, FILL[:3])
        np.testing.assert_allclose(rendered(pixels, size, after, border, field, before), expected, atol=2e-3)


def test_whole_shifts_and_mirrors_copy_the_bytes() -> None:
    pixels = image(np.random.default_rng(0), low=9, high=10)
    planes = pixels.transpose(2, 0, 1)
    np.testing.assert_array_equal(rendered(pixels, (9, 9), IDENTITY, "constant"), planes)
    np.testing.assert_array_equal(rendered(pixels, (9, 9), (-1.0, 0.0, 9.0, 0.0, 1.0, 0.0), "edge"), planes[:, :, ::-1])
    part = rendered(pixels, (4, 5), (1.0, 0.0, 3.0, 0.0, -1.0, 8.0), "constant")
    np.testing.assert_array_equal(part, planes[:, 4:8, 3:8][:, ::-1])
    quarter = rendered(pixels, (9, 9), (0.0, -1.0, 9.0, 1.0, 0.0, 0.0), "constant")
    np.testing.assert_array_equal(quarter, np.rot90(planes, 1, (1, 2)))
    padded = np.pad(planes, ((0, 0), (2, 3), (4, 1)), "symmetric")
    np.testing.assert_array_equal(rendered(pixels, (14, 14), (1.0, 0.0, -4.0, 0.0, 1.0, -2.0), "symmetric"), padded)
    padded = np.pad(planes, ((0, 0), (2, 3), (4, 1)), "edge")
    np.testing.assert_array_equal(rendered(pixels, (14, 14), (1.0, 0.0, -4.0, 0.0, 1.0, -2.0), "edge"), padded)


@pytest.mark.parametrize("mixed", [False, True])
def test_colours(mixed: bool) -> None:
    rng = np.random.default_rng(1)
    planes = rng.random((3, 5, 11), np.float32)
    matrix = rng.normal(0, 1, (3, 4))
    if not mixed:
        matrix[:, :3] *= np.eye(3)
    low, high = [-0.5, -0.2, -9.0], [0.5, 0.7, 9.0]
    expected = np.einsum("ij,jyx->iyx", matrix[:, :3], planes.astype(np.float64)) + matrix[:, 3, None, None]
    expected = np.clip(expected, np.array(low)[:, None, None], np.array(high)[:, None, None])
    recolour(planes, (*matrix.ravel().tolist(), *low, *high))
    np.testing.assert_allclose(planes, expected, atol=1e-6)


def test_uniform_numbers() -> None:
    numbers = np.array(uniforms((3, 1, 4, 1), 100_000))
    assert numbers.min() > 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 3e-3 and abs(numbers.var() - 1 / 12) < 1e-3
    counts, _ = np.histogram(numbers, 100, (0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 160  # chi-squared, 99 degrees of freedom: beyond in 1 of 10^4
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.012
    assert numbers[:5].tolist() == uniforms((3, 1, 4, 1), 5)
    firsts = {uniforms((seed, epoch, index, place), 1)[0] for seed, epoch, index, place in np.ndindex(6, 6, 6, 6)}
    assert len(firsts) == 6**4
    neighbours = np.array([uniforms((0, 0, index, 0), 1)[0] for index in range(20_000)])
    assert abs(neighbours.mean() - 0.5) < 0.01 and abs(np.corrcoef(neighbours[:-1], neighbours[1:])[0, 1]) < 0.03


def test_normal_numbers_are_quantiles() -> None:
    out = np.zeros((2, 50, 100), np.float32)
    add_normal(out, (1, 2), 0.5, 2.0, -1e30, 1e30)
    exact = statistics.NormalDist(0.5, 2.0)
    expected = [exact.inv_cdf(value) for value in uniforms((1, 2), out.size)]
    np.testing.assert_allclose(out.ravel(), expected, rtol=1e-5, atol=1e-5)
    add_normal(out, (1, 3), 0.0, 50.0, -1.0, 2.0)
    assert out.min() == -1.0 and out.max() == 2.0


def test_displacements_are_smoothed_noise() -> None:
    field = displacement(60, 50, (1,), 3.0, 10.0)
    assert field.shape == (2, 60, 50) and field.dtype == np.float32
    weights = np.exp(-0.5 * (np.arange(-12, 13) / 3.0) ** 2)
    weights /= weights.sum()
    noise = (2 * np.array(uniforms((1,), 84 * 74)) - 1).reshape(84, 74) * 10.0
    once = np.apply_along_axis(np.convolve, 0, noise, weights, "valid")
    np.testing.assert_allclose(field[0], np.apply_along_axis(np.convolve, 1, once, weights, "valid"), atol=1e-5)
    assert abs(np.corrcoef(field.reshape(2, -1))[0, 1]) < 0.5
    # The noise's standard deviation, 10 / sqrt(3), times that of the Gaussian's square in two directions.
    assert field.std() == pytest.approx(10 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 3.0), rel=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((0, 4, 3), np.uint8)}, "do not fit"),
        ({"image": np.zeros((4, 4, 5), np.uint8)}, "do not fit"),
        ({"image": np.zeros((4, 4, 2), np.uint8)}, "do not fit"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, "Buffer dtype"),
        ({"out": np.zeros((3, 0, 4), np.float32)}, "empty result"),
        ({"out": np.zeros((3, 4, 8), np.float32)[:, :, ::2]}, "contiguous"),
        ({"after": (1.0, 0.0, math.nan, 0.0, 1.0, 0.0)}, "finite numbers"),
        ({"after": (1.0, 0.0)}, "6 numbers, found 2"),
        ({"border": 3}, "unknown border"),
        ({"fill": (0.0,)}, "number of fill values"),
        ({"colour": (1.0,)}, "colour expects 18 numbers, found 1"),
        ({"field": np.zeros((1, 2, 2), np.float32), "before": IDENTITY}, r"\(2, h, w\)"),
    ],
)
def test_render_refuses(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "out": np.zeros((3, 4, 4), np.float32),
        "after": IDENTITY,
        "field": None,
        "before": None,
        "border": 0,
        "fill": (0.0, 0.0, 0.0),
        "colour": unchanged(3),
    }
    with pytest.raises(ValueError, match=message):
        render(*(arguments | change).values())
