# SPDX-License-Identifier: BSD-3-Clause
"""Layers that normalize without a batch, move, resize or pad, against PyTorch's: eager, gradients, compiled."""

from typing import Any

import numpy as np
import pytest
from oracle import normal, torch_or_skip
from test_nn import test_layer_and_gradients_are_those_of_pytorch as assert_same_as_pytorch

import cnnkern
from cnnkern import nn, train

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("GroupNorm", (3, 18), {"eps": 1e-3}, (2, 18, 5, 6)),
    ("GroupNorm", (2, 6), {"affine": False}, (3, 6, 7)),
    ("LayerNorm", ((6, 5),), {}, (2, 3, 6, 5)),
    ("LayerNorm", (9,), {"bias": False}, (4, 9)),
    ("LayerNorm", (9,), {"elementwise_affine": False}, (4, 9)),
    ("RMSNorm", (9,), {"eps": 1e-3}, (4, 9)),
    ("RMSNorm", ((3, 4),), {}, (4, 3, 4)),
    ("InstanceNorm1d", (4,), {"affine": True}, (2, 4, 9)),
    ("InstanceNorm2d", (17,), {}, (2, 17, 5, 6)),
    ("InstanceNorm2d", (5,), {"affine": True, "track_running_stats": True, "momentum": 0.3}, (3, 5, 5, 6)),
    ("InstanceNorm3d", (2,), {}, (2, 3, 4, 5)),
    ("BatchNorm3d", (4,), {}, (2, 4, 3, 4, 5)),
    ("ZeroPad2d", ((1, 2, 0, 3),), {}, (2, 17, 5, 6)),
    ("ZeroPad1d", (2,), {}, (2, 3, 5)),
    ("ConstantPad2d", (1, 1.5), {}, (2, 17, 5, 6)),
    ("ConstantPad3d", (1, -2.0), {}, (1, 2, 3, 4, 5)),
    ("ReflectionPad1d", (2,), {}, (2, 3, 5)),
    ("ReflectionPad2d", ((2, 1, 3, 0),), {}, (2, 17, 5, 6)),
    ("ReflectionPad3d", (1,), {}, (1, 2, 3, 4, 5)),
    ("ReplicationPad1d", ((3, 1),), {}, (3, 5)),
    ("ReplicationPad2d", (2,), {}, (2, 17, 5, 6)),
    ("ReplicationPad3d", (1,), {}, (1, 2, 3, 4, 5)),
    ("CircularPad2d", ((1, 2, 0, 3),), {}, (2, 17, 5, 6)),
    ("Unfold", (3,), {"padding": 1, "stride": 2}, (2, 3, 6, 7)),
    ("Fold", ((6, 7), (2, 3)), {"stride": (1, 2)}, (2, 12, 15)),
    ("Unflatten", (1, (3, -1)), {}, (2, 12, 5)),
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


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), [row for row in LAYERS if len(row[3]) == 4])
def test_compiled_between_convolutions(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Where the maps around it are blocked, a layer gives what it gives on plain arrays."""
    before = nn.Conv2d(shape[1], shape[1], 3, padding=1, rng=1)
    model = nn.Sequential(before, getattr(nn, name)(*arguments, **options), nn.ReLU())
    x = normal(*shape).astype(np.float32)
    np.testing.assert_allclose(cnnkern.compile(model.eval(), shape)(x), model(x), 1e-4, 1e-5)


def test_a_channel_shuffle_is_its_formula() -> None:
    torch_or_skip()
    x = normal(2, 6, 3, 3).astype(np.float32)
    want = x.reshape(2, 3, 2, 3, 3).transpose(0, 2, 1, 3, 4).reshape(x.shape)
    np.testing.assert_array_equal(nn.ChannelShuffle(3)(x), want)


def test_fixed_filters_see_every_channel() -> None:
    kernels = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
    x = normal(2, 3, 5, 6).astype(np.float32)
    y = nn.FixedFilter(3, kernels)(x)
    assert y.shape == (2, 6, 4, 5)
    np.testing.assert_allclose(y[:, 0::2], x[:, :, :-1, :-1] + x[:, :, 1:, 1:], 1e-6, 1e-6)
    np.testing.assert_allclose(y[:, 1::2], x[:, :, :-1, 1:] + x[:, :, 1:, :-1], 1e-6, 1e-6)
    assert not dict(nn.FixedFilter(3, kernels).named_parameters())


def test_sobel_finds_edges() -> None:
    """An image of two halves, 0 and 255: 4 * 255 along the edge, nothing elsewhere."""
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[:, :, 3:] = 255
    y = nn.Sobel()(x)
    want = np.zeros((6, 6))
    want[2:4] = 1020
    np.testing.assert_allclose(y[0, 0], want, 1e-6, 1e-6)
    np.testing.assert_allclose(nn.Sobel(0)(x)[0, 0], want[1:-1, 1:-1], 1e-6, 1e-6)
    edges = cnnkern.compile(nn.Sobel().eval(), (2, 3, 9, 8))
    image = normal(2, 3, 9, 8).astype(np.float32)
    np.testing.assert_allclose(edges(image), nn.Sobel()(image), 1e-5, 1e-5)


def test_training_moves_the_statistics_of_instances() -> None:
    """A step of a training plan leaves the running statistics that an eager forward pass leaves."""
    x = (normal(6, 3, 4, 5) * 2 + 1).astype(np.float32)
    layer = nn.InstanceNorm2d(3, track_running_stats=True, momentum=0.25)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(60, 2, rng=0))
    train.fit(model, (x, np.arange(6) % 2), batch_size=6, shuffle=False, progress=False)
    eager = nn.InstanceNorm2d(3, track_running_stats=True, momentum=0.25)
    eager(x)
    assert np.abs(eager.running_mean).max() > 0.1
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(getattr(layer, name), getattr(eager, name), 1e-5, 1e-6)


def test_networks_of_these_layers_learn() -> None:
    """Norms, shuffles, resizing and windows in one training plan."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 3, 10, 10)).astype(np.float32), rng.integers(0, 3, 64)
    x[np.arange(64), y] += 1.5
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, rng=0), nn.GroupNorm(4, 16), nn.ReLU(), nn.ChannelShuffle(4),
        nn.LocalResponseNorm(5), nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect", rng=1),
        nn.InstanceNorm2d(16, affine=True), nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelUnshuffle(2),
        nn.Conv2d(64, 8, 1, rng=2), nn.SqueezeExcitation(8, 4, rng=0), nn.Unfold(2, stride=2), nn.Flatten(),
        nn.LayerNorm(800), nn.Linear(800, 3, rng=3),
    )  # fmt: skip
    history = train.fit(model, (x, y), epochs=4, batch_size=16, seed=0, progress=False)
    assert history.history["accuracy"][-1] > 0.8
