# SPDX-License-Identifier: BSD-3-Clause
"""The errors that docs/algorithms.md states, measured on every instruction set: none is larger, none is missing."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounds import error, plain_sums

import cnnkern
from cnnkern import functional as F
from cnnkern import reference

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "csrc" / "kernels" / "conv2d"
PAGE = ROOT / "docs" / "algorithms.md"
# (N, C, H, W), (O, C / groups, R, S), stride, groups: one for each kind of layer that an algorithm is made for.
LAYERS = {
    "3x3": ((1, 64, 24, 24), (64, 64, 3, 3), 1, 1),
    "3x3, many channels": ((1, 512, 8, 8), (32, 512, 3, 3), 1, 1),
    "3x3, few channels": ((2, 16, 23, 25), (24, 16, 3, 3), 1, 1),
    "3x3, stride 2": ((1, 128, 29, 28), (64, 128, 3, 3), 2, 1),
    "5x5": ((1, 96, 14, 15), (48, 96, 5, 5), 1, 1),
    "1x1": ((1, 512, 14, 14), (64, 512, 1, 1), 1, 1),
    "first": ((1, 3, 40, 40), (32, 3, 7, 7), 2, 1),
    "images": ((32, 6, 14, 14), (16, 6, 5, 5), 1, 1),
    "depthwise": ((2, 64, 20, 20), (64, 1, 3, 3), 1, 64),
    "groups": ((1, 128, 16, 16), (128, 4, 3, 3), 1, 32),
}


def documented() -> dict[str, float]:
    """Algorithm -> how many times the error of plain sums it may have."""
    return {m[1]: float(m[2]) for m in re.finditer(r"^\| `(\w+)` \|.*\| ([\d.]+) \|$", PAGE.read_text("utf-8"), re.M)}


def definition(x: Any, w: Any, geometry: dict[str, Any]) -> Any:
    """In float64."""
    stride, pad, groups = (geometry[name] for name in ("stride", "padding", "groups"))
    attrs = {"stride": (stride, stride), "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1), "groups": groups}
    return reference.conv2d(x.astype(np.float64), w.astype(np.float64), None, None, **attrs)


@cache
def operands(layer: str) -> tuple[Any, Any, Any, dict[str, Any], float]:
    """Image, weights, the exact answer, geometry, and the error of plain sums."""
    shape, weights, stride, groups = LAYERS[layer]
    rng = np.random.default_rng(11)
    x = np.maximum(rng.standard_normal(shape, dtype=np.float32), 0)
    w = rng.standard_normal(weights, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(weights[1:])))
    geometry = {"stride": stride, "padding": weights[-1] // 2, "groups": groups}
    exact = definition(x, w, geometry)
    return x, w, exact, geometry, plain_sums(x, w, exact, geometry)


def test_every_algorithm_is_documented() -> None:
    files = {path.stem.split(".")[0] for path in KERNELS.glob("*.cpp")}
    assert set(documented()) == files, "a row in the table of docs/algorithms.md for each algorithm, with its error"


@pytest.mark.parametrize("name", documented())
def test_errors_are_as_documented(name: str, isa: str, core: Any) -> None:
    most, served = documented()[name], 0
    for layer in LAYERS:
        x, w, exact, geometry, plain = operands(layer)
        try:
            engine = cnnkern.compile(lambda x: F.conv2d(x, w, **geometry), x.shape, algorithms={"conv2d": name})  # noqa: B023
        except ValueError:  # cannot serve this layer
            continue
        found = error(engine(x), exact)
        print(
            f"{layer}, {isa}, {name}: rms error {found:.2e}, {found / plain:.2f} times that of plain sums ({plain:.2e})"
        )
        assert found <= most * plain, layer
        served += 1
    # The widest instruction set lacks none of the kernels that are for all.
    assert served or isa != core.isas()[-1] or not (KERNELS / f"{name}.cpp").exists()


def test_values_that_are_not_finite() -> None:
    """Plain sums spread them as the definition does, Winograd's algorithm at most over the tiles that read them."""
    x, w, _, geometry, _ = operands("3x3")
    x = x.copy()
    x[0, 5, 7, 9], x[0, 6, 20, 3], x[0, 60, 13, 13] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        exact = definition(x, w, geometry)
    engine = cnnkern.compile(lambda x: F.conv2d(x, w, padding=1), x.shape, winograd=False)
    y = engine(x)
    assert np.array_equal(np.isnan(y), np.isnan(exact))
    assert np.array_equal(y[np.isinf(exact)], exact[np.isinf(exact)])
    for name, tile in (("winograd_2x2", 2), ("winograd_4x4", 4)):
        found = cnnkern.compile(lambda x: F.conv2d(x, w, padding=1), x.shape, algorithms={"conv2d": name})(x)
        touched = ~np.isfinite(exact[0]).all(0)
        tiles = touched.reshape(24 // tile, tile, 24 // tile, tile).any((1, 3))
        allowed = np.repeat(np.repeat(tiles, tile, 0), tile, 1)
        finite = np.isfinite(found[0]).all(0)
        assert not finite[touched].any() and finite[~allowed].all()
