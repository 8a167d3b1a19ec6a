# SPDX-License-Identifier: BSD-3-Clause
"""Worked examples on counting (parameters, multiplications, shapes) and on borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional, models, nn


def parameters(model: nn.Module) -> int:
    return sum(array.size for array in model.parameters())


@pytest.mark.parametrize(("filters", "size", "channels"), [(1, 5, 1), (16, 5, 1), (32, 5, 16), (7, 3, 4)])
def test_parameters_of_a_convolution(filters: int, size: int, channels: int) -> None:
    assert parameters(nn.Conv2d(channels, filters, size)) == (size * size * channels + 1) * filters
    assert parameters(nn.Conv2d(1, 1, 5)) == 26


def test_depthwise_separable_convolution_multiplies_less() -> None:
    shape = (1, 3, 6, 6)
    normal = cnnkern.count_macs(nn.Conv2d(3, 5, 3), shape)
    pair = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1))
    depthwise, pointwise = (row.multiply_adds for row in pair.summary(shape).rows)
    assert (normal, depthwise, pointwise) == (2160, 432, 240)
    assert cnnkern.count_macs(pair, shape) == 672
    assert (depthwise + pointwise) / normal == pytest.approx(1 / 5 + 1 / 9)


def test_a_bottleneck_multiplies_less() -> None:
    shape = (1, 192, 28, 28)
    assert cnnkern.count_macs(nn.Conv2d(192, 32, 5, padding="same"), shape) == 120_422_400
    narrow = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding="same")).summary(shape)
    assert [row.multiply_adds for row in narrow.rows] == [2_408_448, 10_035_200]
    assert narrow.multiply_adds == 12_443_648


@pytest.mark.parametrize("channels", [1, 8])
def test_two_small_kernels_see_as_much_as_a_large_one(channels: int) -> None:
    large = nn.Conv2d(channels, 1, 5, bias=False)
    small = nn.Conv2d(channels, 1, 3, bias=False)
    assert parameters(large) == 25 * channels and 2 * parameters(small) == 18 * channels
    rows, columns = nn.Conv2d(channels, 1, (1, 5), bias=False), nn.Conv2d(1, 1, (5, 1), bias=False)
    x = np.ones((1, channels, 9, 9), np.float32)
    assert columns(rows(x)).shape == large(x).shape == (1, 1, 5, 5)


def test_branches_of_an_inception_module_are_stacked() -> None:
    class Inception(nn.Module):
        def __init__(self) -> None:
            self.one = nn.Conv2d(192, 64, 1)
            self.three = nn.Conv2d(192, 128, 3, padding="same")
            self.five = nn.Conv2d(192, 32, 5, padding="same")
            self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(192, 32, 1))

        def forward(self, input: Any) -> Any:
            return functional.concat([self.one(input), self.three(input), self.five(input), self.pool(input)], 1)

    x = np.zeros((1, 192, 28, 28), np.float32)
    assert Inception()(x).shape == (1, 256, 28, 28)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_borders_of_zeros_and_of_the_adjacent_value(dtype: Any) -> None:
    x = np.array([[1, 2], [3, 4]], dtype).reshape(1, 1, 2, 2)
    zeros = functional.pad(x, (1, 1, 1, 1))
    assert zeros.tolist() == [[[[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]]]
    adjacent = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    assert adjacent.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]


def test_residual_blocks_project_where_shapes_differ() -> None:
    model = models.resnet18(seed=0)
    assert not model.layer1[0].projects and model.layer2[0].projects and not model.layer2[1].projects
    block, x = model.layer1[0].eval(), np.random.default_rng(0).standard_normal((1, 64, 5, 5), dtype=np.float32)
    for norm in (block.bn1, block.bn2):
        norm.weight[...] = 0
    np.testing.assert_array_equal(block(x), np.maximum(x, 0))
    assert model.layer2[0].eval()(x).shape == (1, 128, 3, 3)
