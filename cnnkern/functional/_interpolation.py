# SPDX-License-Identifier: BSD-3-Clause
"""The tables of interpolation along one axis, by PyTorch's index rules.

Where a place of the result lies in the input is computed in the precision of the arrays, as PyTorch does, so that a
nearest neighbour is the same neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from cnnkern.functional.resample import Table, table
from cnnkern.graph import Array

_CUBIC = -0.75  # the free parameter of the cubic convolution kernel (Keys, 1981)
_CUBIC_SMOOTHED = -0.5  # the one that PyTorch and Pillow take where they smooth


@lru_cache(256)
def axis_table(
    mode: str, size: int, out: int, plane: bool, align_corners: bool, factor: float | None, antialias: bool, dtype: Any
) -> Table:
    """From `size` to `out` places: nearest, nearest-exact, linear, cubic, lanczos or area.

    plane: of images, which PyTorch computes by other code than signals and volumes; factor: a given scale.
    """
    if mode == "area":
        return _area(size, out, dtype)
    if mode.startswith("nearest"):
        index = _nearest(size, out, factor, mode == "nearest-exact", plane, dtype)
        return table(np.ones(out), index, np.ones(out), size, dtype)
    scale = _scale(size, out, align_corners, factor, dtype)
    if antialias:
        return _smoothed(mode, size, out, scale, dtype)
    places = np.arange(out).astype(dtype)
    half = dtype.type(0.5)
    source = scale * places if align_corners else scale * (places + half) - half
    if mode == "linear":
        return _linear(size, out, np.maximum(source, 0), dtype)
    return _cubic(size, source, dtype)


def _scale(size: int, out: int, align_corners: bool, factor: float | None, dtype: Any) -> Any:
    """Places of the input for one of the result."""
    if align_corners:
        return dtype.type(size - 1) / dtype.type(out - 1) if out > 1 else dtype.type(0)
    return dtype.type(1.0 / factor) if factor else dtype.type(size) / dtype.type(out)


def _nearest(size: int, out: int, factor: float | None, exact: bool, plane: bool, dtype: Any) -> Array:
    dtype = np.dtype(np.float32) if plane else dtype
    places, half = np.arange(out).astype(dtype), dtype.type(0.5)
    scale = _scale(size, out, False, factor, dtype)
    if not exact:
        source = scale * places
    else:
        source = scale * (places + half) if plane else scale * (places + half) - half + half
    return np.asarray(np.minimum(np.floor(source.astype(np.float32)).astype(np.int64), size - 1))


def _linear(size: int, out: int, source: Array, dtype: Any) -> Table:
    if size == out:
        return table(np.ones(out), np.arange(out), np.ones(out), size, dtype)
    low = np.minimum(source.astype(np.int64), size - 1)
    upper = np.clip(source - low.astype(dtype), 0, 1)
    index = np.stack([low, np.minimum(low + 1, size - 1)], -1)
    return table(np.full(out, 2), index.ravel(), np.stack([1 - upper, upper], -1).ravel(), size, dtype)


def _cubic_weight(x: Array, a: float) -> Array:
    """The cubic convolution kernel at distance x >= 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _cubic(size: int, source: Array, dtype: Any) -> Table:
    low = np.floor(source)
    t = source - low
    weight = np.stack([_cubic_weight(x, _CUBIC) for x in (t + 1, t, 1 - t, 2 - t)], -1)
    index = np.clip(low.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    return table(np.full(len(source), 4), index.ravel(), weight.ravel(), size, dtype)


_KERNELS: dict[str, tuple[float, Callable[[Array], Array]]] = {  # reach, weight at a distance
    "linear": (1.0, lambda x: np.maximum(1 - x, 0)),
    "cubic": (2.0, lambda x: _cubic_weight(x, _CUBIC_SMOOTHED)),
    "lanczos": (3.0, lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)),
}


def _smoothed(mode: str, size: int, out: int, scale: Any, dtype: Any) -> Table:
    """Weights of a kernel that is stretched by the scale where the result is smaller: no alias frequencies."""
    radius, kernel = _KERNELS[mode]
    reach = radius * max(float(scale), 1.0)
    stretch = 1.0 / max(float(scale), 1.0)
    centre = float(scale) * (np.arange(out) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    counts, index, weights = last - first, [], []
    for i in range(out):
        places = np.arange(first[i], last[i])
        weight = kernel(np.abs((places - centre[i] + 0.5) * stretch))
        index.append(places)
        weights.append(weight / (weight.sum() or 1.0))
    return table(counts, np.concatenate(index), np.concatenate(weights), size, dtype)


def _area(size: int, out: int, dtype: Any) -> Table:
    """Means over windows [floor(i size / out), ceil((i + 1) size / out))."""
    places = np.arange(out)
    first, last = places * size // out, -(-(places + 1) * size // out)
    counts = last - first
    index = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in zip(first, last, strict=True))])
    return table(counts, index, np.repeat(1.0 / counts, counts), size, dtype)
