# SPDX-License-Identifier: BSD-3-Clause
"""Resampling and colours by their definition, in float64, one output at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
BORDERS = ("constant", "edge", "symmetric")


def _inside(centre: float, size: int, border: str) -> float | None:
    if 0 <= centre < size:
        return centre
    if border == "constant":
        return None
    if border == "edge":
        return min(max(centre, 0.0), float(size))
    centre = math.fmod(math.fmod(centre, 2 * size) + 2 * size, 2 * size)
    return 2 * size - centre if centre > size else centre


def _weights(centre: float, size: int, support: float) -> Doubles:
    weights = np.maximum(1 - np.abs(np.arange(size) + 0.5 - centre) / support, 0)
    return weights / weights.sum()


def along_axes(image: Any, map: Sequence[float], size: tuple[int, int], border: str, fill: Sequence[float]) -> Doubles:
    """The result of a map without rotation, (C, *size), of an image (H, W, C)."""
    height, width, channels = image.shape
    a, _, c, _, e, f = map
    out = np.empty((channels, *size))
    for y, x in np.ndindex(*size):
        down, across = _inside(e * (y + 0.5) + f, height, border), _inside(a * (x + 0.5) + c, width, border)
        if down is None or across is None:
            out[:, y, x] = fill
            continue
        rows, columns = _weights(down, height, max(abs(e), 1.0)), _weights(across, width, max(abs(a), 1.0))
        out[:, y, x] = np.einsum("h,hwc,w->c", rows, image.astype(np.float64), columns)
    return out


def _bilinear(image: Any, x: float, y: float, border: str, fill: Sequence[float]) -> Doubles:
    across, down = _inside(x, image.shape[1], border), _inside(y, image.shape[0], border)
    if across is None or down is None:
        return np.asarray(fill, np.float64)
    rows, columns = _weights(down, image.shape[0], 1.0), _weights(across, image.shape[1], 1.0)
    result: Doubles = np.einsum("h,hwc,w->c", rows, image.astype(np.float64), columns)
    return result


def _apply(map: Sequence[float], x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = map
    return a * x + b * y + c, d * x + e * y + f


def by_points(
    image: Any,
    after: Sequence[float],
    field: Any,
    before: Sequence[float],
    size: tuple[int, int],
    border: str,
    fill: Sequence[float],
) -> Doubles:
    """The result of any map, each pixel the mean of a grid of points."""
    linear = np.array([[before[0], before[1]], [before[3], before[4]]]) @ [[after[0], after[1]], [after[3], after[4]]]
    counts = [min(max(math.ceil(np.abs(linear[:, i]).max() - 0.5), 1), 8) for i in range(2)]
    out = np.empty((image.shape[2], *size))
    for y, x in np.ndindex(*size):
        total = np.zeros(image.shape[2])
        for j, i in np.ndindex(counts[1], counts[0]):
            u, v = _apply(after, x + (i + 0.5) / counts[0], y + (j + 0.5) / counts[1])
            if field is not None:
                moved = [_bilinear(plane[:, :, None], u, v, "edge", [0])[0] for plane in field]
                u, v = _apply(before, u + moved[0], v + moved[1])
            total += _bilinear(image, u, v, border, fill)
        out[:, y, x] = total / (counts[0] * counts[1])
    return out


def jitter(picture: Doubles, brightness: float, contrast: float, saturation: float) -> Doubles:
    """Colours of (3, H, W) in 0..1, limited at the end."""
    gray = np.array([0.2989, 0.587, 0.114])
    picture = picture * brightness
    picture = contrast * picture + (1 - contrast) * np.tensordot(gray, picture, 1).mean()
    picture = saturation * picture + (1 - saturation) * np.tensordot(gray, picture, 1)
    return np.clip(picture, 0, 1)
