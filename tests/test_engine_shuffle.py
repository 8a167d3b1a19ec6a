# SPDX-License-Identifier: BSD-3-Clause
"""Channel shuffles and splits between convolutions: on blocked maps, without a copy."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import _core
from cnnkern import functional as F

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.3)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 3e-6 * np.linalg.norm(expected)


def units(half, activation=F.relu, count=3):
    """A shuffle of two branches, then units that split 2 * half channels, and a convolution of all of them."""
    first, second, last = normal(half, 3, 3, 3), normal(half, 3, 1, 1), normal(24, 2 * half, 1, 1)
    weights = [(normal(half, half, 1, 1), normal(half), normal(half, 1, 3, 3)) for _ in range(count)]

    def network(x):
        branches = [activation(F.conv2d(x, first, padding=1)), activation(F.conv2d(x, second))]
        x = F.channel_shuffle(F.concat(branches, 1), 2)
        for pointwise, bias, depthwise in weights:
            kept, changed = F.chunk(x, 2, 1)
            changed = F.conv2d(changed, depthwise, padding=1, groups=half)
            changed = activation(F.conv2d(changed, pointwise, bias))
            x = F.channel_shuffle(F.concat([kept, changed], 1), 2)
        return F.conv2d(x, last)

    return network


def copies_inside(engine: cnnkern.Engine) -> int:
    """Copies but those of the ends (the scalar kernels may prefer plain maps)."""
    steps = [step.op for step in engine.steps]
    convolutions = [i for i, op in enumerate(steps) if op == "conv2d"]
    return steps[convolutions[0] : convolutions[-1]].count("copy") if _core.isa() != "scalar" else 0


@pytest.mark.parametrize("half", [16, 29, 58])
@pytest.mark.parametrize("activation", [F.relu, F.silu, F.relu6])
def test_shuffle_units_copy_nothing(half, activation, isa):
    network = units(half, activation)
    for shape in ((1, 3, 19, 23), (2, 3, 28, 28)):
        x = normal(*shape)
        engine = cnnkern.compile(network, shape)
        close(engine(x), network(x))
        assert copies_inside(engine) == 0


@pytest.mark.parametrize(("half", "activation"), [(7, F.relu), (20, F.sigmoid)])
def test_few_channels_and_an_activation_that_does_not_keep_zero(half, activation, isa):
    network = units(half, activation)
    x = normal(1, 3, 15, 15)
    close(cnnkern.compile(network, x.shape)(x), network(x))


def test_a_piece_that_others_read_too(isa):
    first, second = normal(20, 3, 3, 3), normal(12, 3, 1, 1)

    def network(x):
        one, two = F.conv2d(x, first, padding=1), F.conv2d(x, second)
        shuffled = F.channel_shuffle(F.concat([one, two], 1), 4)
        low, high = F.split(shuffled, [5, 27], 1)
        return F.relu(one), low, F.relu(high), F.flip(F.concat([two, two], 1), (1,))

    x = normal(2, 3, 9, 11)
    engine = cnnkern.compile(network, x.shape)
    for found, expected in zip(engine(x), network(x), strict=True):
        close(found, expected)


def test_other_sizes_share_widened_weights():
    """Of two sizes near each other, so that the same algorithms serve both."""
    network = units(29)
    engine = cnnkern.compile(network, (1, 3, 16, 16))
    engine(normal(1, 3, 16, 16))
    packed = engine.memory().packed
    x = normal(1, 3, 16, 18)
    close(engine(x), network(x))
    assert engine.memory().packed == packed


def test_shufflenet_has_no_copy_inside():
    model = cnnkern.models.shufflenet_v2_x1_0().eval()
    engine = cnnkern.compile(model, (1, 3, 224, 224))
    assert copies_inside(engine) == 0
