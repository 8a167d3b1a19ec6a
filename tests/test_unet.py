# SPDX-License-Identifier: BSD-3-Clause
"""U-Net: counts and sizes of the paper, all variants against PyTorch, odd image sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip
from torch_graph import as_module, traced

import cnnkern
from cnnkern import models, train


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_counts_are_the_papers() -> None:
    model = models.unet(padding="valid", seed=0)
    # Levels of 64 to 1024 channels: two 3x3 convolutions each down, and up one 2x2 and two 3x3.
    down = sum(9 * (a * b + b * b) + 2 * b for a, b in ((1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)))
    up = sum(4 * 2 * c * c + c + 9 * (2 * c * c + c * c) + 2 * c for c in (512, 256, 128, 64))
    assert sum(array.size for array in model.parameters()) == down + up + 64 * 2 + 2 == 31_030_658
    rows = {row.name: row.output_shape for row in model.summary((1, 1, 572, 572)).rows}
    assert [rows[f"down.{level}.3"][2] for level in range(5)] == [568, 280, 136, 64, 28]  # figure 1 of the paper
    assert [rows[f"up.{level}.convolutions.3"][2] for level in range(4)] == [52, 100, 196, 388]
    assert rows["classifier"] == (1, 2, 388, 388)


def test_multiply_adds() -> None:
    model = models.unet(width=8, depth=1, seed=0)
    assert cnnkern.count_macs(model, (1, 1, 8, 8)) == (
        64 * 9 * (8 + 64) + 16 * 9 * (8 * 16 + 16 * 16) + 64 * 16 * 8 + 64 * 9 * (16 * 8 + 8 * 8) + 64 * 8 * 2
    )


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(("padding", "size"), [("same", (24, 16)), ("same", (21, 27)), ("valid", (44, 52))])
def test_variants_are_those_of_pytorch(upsampling: Any, normalized: bool, padding: Any, size: tuple[int, int]) -> None:
    torch = torch_or_skip()
    model = models.unet(
        3, 2, width=8, depth=2, padding=padding, upsampling=upsampling, normalized=normalized, seed=1
    ).eval()
    x = normal(2, 2, *size)
    expected = as_module(torch, model, traced(model, [x.shape]))(torch.from_numpy(x)).detach().numpy()
    assert expected.shape == (2, 3, *(size if padding == "same" else (side - 40 for side in size)))
    for found in (model(x), cnnkern.compile(model, x.shape)(x)):
        assert np.linalg.norm(found - expected) < 2e-6 * np.linalg.norm(expected)


def test_it_learns_to_find_the_bright_pixels() -> None:
    x = normal(8, 1, 16, 16)
    y = (x[:, 0] > 0).astype(np.int32)
    model = models.unet(width=4, depth=2, normalized=True, seed=0)
    history = train.fit(
        model, (x, y), epochs=12, batch_size=4, optimizer=train.Adam(0.02), metrics=[], seed=0, progress=False
    )
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "unet: width must be positive, found 0"),
        ({"depth": 0}, "unet: depth must be positive"),
        ({"padding": "full"}, "unet: padding must be one of same, valid, found 'full'"),
        ({"upsampling": "nearest"}, "unet: upsampling must be one of transposed, bilinear"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.unet(**options)
