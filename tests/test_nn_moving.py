# SPDX-License-Identifier: BSD-3-Clause
"""Layers that normalize without a batch, move, resize or pad, against PyTorch's: eager, gradients, compiled."""

from typing import Any

import numpy as np
import pytest
from oracle import normal, torch_or_skip
from test_nn import test_layer_and_gradients_are_those_of_pytorch as assert_same_as_pytorch

import cnnkern
from cnnkern import nn

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("LocalResponseNorm", (5, 2.0, 0.75, 2.0), {}, (2, 17, 5, 6)),
    ("LocalResponseNorm", (4,), {}, (2, 6, 9)),
    ("PixelShuffle", (2,), {}, (2, 12, 5, 6)),
    ("PixelUnshuffle", (3,), {}, (2, 4, 6, 9)),
    ("Upsample", (), {"scale_factor": 2}, (2, 17, 5, 6)),
    ("Upsample", ((7, 3),), {"mode": "bilinear"}, (2, 17, 5, 6)),
    ("Upsample", (), {"scale_factor": (1.5, 0.75), "mode": "bicubic", "align_corners": True}, (2, 3, 8, 9)),
    ("Upsample", (), {"scale_factor": 2.0, "mode": "linear"}, (2, 5, 9)),
    ("Upsample", ((3, 5, 4),), {"mode": "trilinear"}, (1, 3, 4, 4, 4)),
    ("UpsamplingNearest2d", ((7, 3),), {}, (2, 3, 5, 6)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (2, 3, 5, 6)),
    ("ChannelShuffle", (3,), {}, (2, 12, 5, 6)),
]


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_layers(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert_same_as_pytorch(name, arguments, options, shape)


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_compiled_between_convolutions(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Where the maps around it are blocked, a layer gives what it gives on plain arrays."""
    if len(shape) != 4:
        pytest.skip("maps of four axes are blocked")
    before = nn.Conv2d(shape[1], shape[1], 3, padding=1, rng=1)
    model = nn.Sequential(before, getattr(nn, name)(*arguments, **options), nn.ReLU())
    x = normal(*shape).astype(np.float32)
    np.testing.assert_allclose(cnnkern.compile(model.eval(), shape)(x), model(x), 1e-4, 1e-5)


def test_a_channel_shuffle_is_its_formula() -> None:
    torch_or_skip()
    x = normal(2, 6, 3, 3).astype(np.float32)
    want = x.reshape(2, 3, 2, 3, 3).transpose(0, 2, 1, 3, 4).reshape(x.shape)
    np.testing.assert_array_equal(nn.ChannelShuffle(3)(x), want)
