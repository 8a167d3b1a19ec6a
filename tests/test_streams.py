# SPDX-License-Identifier: BSD-3-Clause
"""Maps above 16 MB, which are written past the caches: the same bits as smaller ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import nn, train
from cnnkern.engine import rounds

SIDE = 205  # two images of 64 channels are 21 MB, one is not streamed
RNG = np.random.default_rng(29)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.3)


CASES = {
    "pointwise": ((16, SIDE, SIDE), (64, 16, 1, 1), {}),
    "direct": ((16, SIDE, SIDE), (64, 16, 3, 3), {"padding": 1}),
    "first": ((3, SIDE, SIDE), (64, 3, 3, 3), {"padding": 1}),
    "depthwise": ((64, SIDE, SIDE), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
    "depthwise_window": ((64, SIDE, SIDE), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
}


@pytest.mark.parametrize("algorithm", CASES)
@pytest.mark.parametrize("activation", [F.relu, F.silu])
def test_convolutions(algorithm: str, activation: Any, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "fastest", lambda cuts, *_: None)  # one image at a time would not be streamed
    shape, weight, attrs = CASES[algorithm]
    x, w, bias, last = normal(2, *shape), normal(*weight), normal(64), normal(4, 64, 1, 1)

    def network(x: Any) -> Any:
        return F.conv2d(activation(F.conv2d(x, w, bias, **attrs)), last)

    told = {"conv2d": algorithm, "conv2d#2": "pointwise"}
    whole, alone = (cnnkern.compile(network, (images, *shape), algorithms=told) for images in (2, 1))
    assert [step.algorithm for step in whole.steps if step.op == "conv2d"] == [algorithm, "pointwise"]
    found = whole(x)
    for image in range(2):
        np.testing.assert_array_equal(found[image : image + 1], alone(x[image : image + 1]))


def test_norms_and_gradients(isa: str) -> None:
    """Images that lie twice in the batch: statistics and gradients are what they are without, to rounding."""
    model = nn.Sequential(
        nn.Conv2d(16, 64, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
    )
    for array in model.state_dict().values():
        if array.dtype == np.float32 and array.ndim > 1:
            array[...] = normal(*array.shape)
    start = {name: array.copy() for name, array in model.state_dict().items()}
    x, labels = normal(1, 16, SIDE, SIDE), np.array([3])
    results = []
    for repeats in (1, 2):
        model.load_state_dict(start)
        trainer = train.Trainer(model, optimizer=train.SGD(lr=1.0))
        loss = trainer.step(np.repeat(x, repeats, 0), np.repeat(labels, repeats))
        results.append((loss, {name: array.copy() for name, array in model.state_dict().items()}))
    (loss, once), (same_loss, twice) = results
    np.testing.assert_allclose(same_loss, loss, rtol=1e-5)
    for name, array in once.items():
        moved = np.abs(array - start[name]).max() or 1.0
        np.testing.assert_allclose(twice[name], array, rtol=0, atol=2e-4 * moved, err_msg=name)
