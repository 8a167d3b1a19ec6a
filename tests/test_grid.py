# SPDX-License-Identifier: BSD-3-Clause
"""Grids of any values, spatial transformers in compiled networks, and windows in random places."""

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import graph, nn, train


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_any_grid_is_safe(mode: str, padding_mode: str) -> None:
    """NaN counts as -1, infinity as far away; only elements of the input are read and written."""
    rng = np.random.default_rng(0)
    rare = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9, 2.0**31, 1e-45, -0.0, 1.0, -1.0], np.float32)
    grid = rng.choice(rare, (2, 9, 11, 2))
    for align in (False, True):
        x, dy = (rng.standard_normal(shape, np.float32) for shape in ((2, 3, 5, 4), (2, 3, 9, 11)))
        y = F.grid_sample(x, grid, mode, padding_mode, align)
        assert np.isfinite(y).all()
        nan = np.isnan(grid)
        np.testing.assert_array_equal(
            F.grid_sample(x, np.where(nan, np.float32(-1), grid), mode, padding_mode, align), y
        )
        attrs = {"mode": mode, "padding_mode": padding_mode, "align_corners": align}
        (dx,) = graph.apply(graph.OPS["grid_sample_grad_input"], (dy, grid), {"input_shape": x.shape, **attrs})
        (dgrid,) = graph.apply(graph.OPS["grid_sample_grad_grid"], (dy, x, grid), attrs)
        assert np.isfinite(dx).all() and np.isfinite(dgrid).all()


def test_the_identity_reads_the_input() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7), np.float32)
    theta = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
    for align in (False, True):
        y = F.grid_sample(x, F.affine_grid(theta, x.shape, align), align_corners=align)
        np.testing.assert_allclose(y, x, atol=2e-6)


class _Transformer(nn.Module):
    """A convolution, turned by an angle that is learned."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 18, 3, padding=1, rng=0)
        self.theta = nn.Linear(18, 6, rng=1)
        self.pool = nn.FractionalMaxPool2d(2, output_ratio=0.6)

    def forward(self, x: Any) -> Any:
        maps = self.first(x)
        theta = F.reshape(self.theta(F.flatten(F.adaptive_avg_pool2d(maps, 1), 1)), (-1, 2, 3))
        return self.pool(F.grid_sample(maps, F.affine_grid(theta, maps.shape), align_corners=False))


def test_compiled() -> None:
    """The results are those of the layers, and all of it learns; windows may be random in training."""
    model = _Transformer().eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 11), np.float32)
    samples = np.random.default_rng(1).random((2, 18, 2), np.float32)
    model.pool = nn.FractionalMaxPool2d(2, 6, _random_samples=samples)
    np.testing.assert_allclose(cnnkern.compile(model, x.shape)(x), model(x), atol=1e-5)


def test_random_windows() -> None:
    """A seed repeats them; without one they differ, and every map of an image has its own."""
    x = np.tile(np.random.default_rng(0).standard_normal((1, 1, 20, 20), np.float32), (1, 16, 1, 1))
    one, other = (F.fractional_max_pool2d(x, 2, 9, seed=3) for _ in range(2))
    assert np.array_equal(one, other)
    assert len(np.unique(one[0], axis=0)) > 8
    assert not np.array_equal(F.fractional_max_pool2d(x, 2, 9), F.fractional_max_pool2d(x, 2, 9))
    with pytest.raises(ValueError, match="_random_samples must have shape"):
        F.fractional_max_pool2d(x, 2, 9, _random_samples=np.zeros((1, 16, 3), np.float32))


def test_any_samples_are_safe() -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 7, 9), np.float32)
    for bad in (np.nan, np.inf, -np.inf, 1e30, -1e-3, 1.0, 2.0):
        y, indices = F.fractional_max_pool2d(
            x, 3, 4, return_indices=True, _random_samples=np.full((1, 3, 2), bad, "f4")
        )
        assert np.array_equal(
            np.take_along_axis(x.reshape(1, 3, -1), indices.reshape(1, 3, -1), 2), y.reshape(1, 3, -1)
        )


def test_a_spatial_transformer_learns() -> None:
    """Windows are drawn anew in each step; the angle gets a gradient through grid and samples."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 3, 12, 11), np.float32), rng.integers(0, 2, 16)
    transformer = _Transformer()
    model = nn.Sequential(transformer, nn.Flatten(), nn.Linear(18 * 7 * 6, 2, rng=2))
    before = transformer.state_dict()["theta.weight"].copy()
    history = train.fit(model, (x, y), epochs=8, batch_size=8, optimizer=train.SGD(0.02), seed=0, progress=False)
    losses = history.history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert not np.array_equal(transformer.state_dict()["theta.weight"], before)
