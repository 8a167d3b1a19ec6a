# SPDX-License-Identifier: BSD-3-Clause
"""Resizing of byte images with Pillow's arithmetic, so that a network sees the pixels that it was trained on.

A filter stretched by the scale (antialiasing), applied along the width and along the height; weights in fixed point
with 22 bits behind the point, and each of the two passes rounds to bytes (Pillow, `Image.resize`). The width comes
first, unless the height shrinks by more than twice as many pixels: the order of Pillow 13; older versions always begin
with the width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]
_FRACTION_BITS = 22


def _box(x: Doubles) -> Doubles:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _triangle(x: Doubles) -> Doubles:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: Doubles) -> Doubles:
    """Keys' cubic convolution (1981) with a = -0.5; the order of operations is that of Pillow."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _sinc(x: float) -> float:
    # math.sin, element by element: NumPy's vectorized sine may differ in the last bit.
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def _lanczos(x: Doubles) -> Doubles:
    return np.array([_sinc(v) * _sinc(v / 3) if -3.0 <= v < 3.0 else 0.0 for v in x.tolist()])


_FILTERS: dict[str, tuple[Callable[[Doubles], Doubles], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
INTERPOLATIONS = ("nearest", *_FILTERS)


def resize(image: Bytes, size: tuple[int, int], interpolation: str = "bilinear", box: Box | None = None) -> Bytes:
    """A byte image in another size, equal bit for bit to what Pillow's `Image.resize` gives.

    Args:
        image: (H, W) or (H, W, C) uint8.
        size: (height, width) of the result.
        interpolation: "nearest", "box", "bilinear", "bicubic" or "lanczos"; all but the first average over the pixels
            that fall together when an image shrinks.
        box: (top, left, height, width): compute only this part of the result.

    Returns:
        uint8 of shape (height, width) or (height, width, C), or the size of the box.

    Raises:
        TypeError: the image is no uint8 array.
        ValueError: shape, size, box or interpolation cannot be used.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"resize: image must be a uint8 array, found {_kind(image)}")
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(f"resize: image must have shape (H, W) or (H, W, C), none of them 0, found {image.shape}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"resize: interpolation must be one of {', '.join(INTERPOLATIONS)}, found {interpolation!r}")
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"resize: size must be positive, found {size}")
    top, left, rows, columns = box or (0, 0, height, width)
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
        raise ValueError(f"resize: box (top, left, height, width) must lie inside {size}, found {box}")
    vertical = _Pass(image.shape[0], height, top, top + rows, interpolation)
    horizontal = _Pass(image.shape[1], width, left, left + columns, interpolation)
    # Only what the second pass reads goes through the first.
    used = image[vertical.first : vertical.last, horizontal.first : horizontal.last]
    if vertical_first(image.shape[:2], (height, width)):
        result = horizontal(vertical(used).swapaxes(0, 1)).swapaxes(0, 1)
    else:
        result = vertical(horizontal(used.swapaxes(0, 1)).swapaxes(0, 1))
    return np.ascontiguousarray(result)


def vertical_first(before: tuple[int, ...], after: tuple[int, int]) -> bool:
    """Whether Pillow 13 resamples the height before the width, from size (height, width) to another."""
    removed = before[0] - after[0]
    return removed > 0 and removed > 2 * (before[1] - after[1])


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


class _Pass:
    """Resampling along the first axis: output `begin` to `end` of `outputs`, each a weighted sum of some inputs."""

    def __init__(self, inputs: int, outputs: int, begin: int, end: int, interpolation: str) -> None:
        self.gathered: npt.NDArray[np.int64] | None = None
        self.weights: list[tuple[int, Doubles]] = []
        if inputs == outputs:
            self.gathered = np.arange(begin, end)
        elif interpolation == "nearest":
            # Pillow adds the step again and again; so does cumsum, with the same rounding.
            steps = np.full(outputs, inputs / outputs)
            steps[0] *= 0.5
            self.gathered = np.minimum(np.cumsum(steps).astype(np.int64), inputs - 1)[begin:end]
        else:
            self.weights = [_weights(i, inputs, inputs / outputs, interpolation) for i in range(begin, end)]
        if self.gathered is not None:
            self.first, self.last = int(self.gathered[0]), int(self.gathered[-1]) + 1
            self.gathered = self.gathered - self.first
        else:
            self.first, self.last = self.weights[0][0], max(start + len(w) for start, w in self.weights)

    def __call__(self, image: Bytes) -> Bytes:
        """(last - first, ...) -> (end - begin, ...)."""
        if self.gathered is not None:
            return image[self.gathered]
        flat = np.ascontiguousarray(image).reshape(len(image), -1)
        result = np.empty((len(self.weights), flat.shape[1]), np.uint8)
        for line, (start, weights) in zip(result, self.weights, strict=True):
            begin = start - self.first
            # Integers below 2^53: the product is exact in float64, and goes to the BLAS.
            total = weights @ flat[begin : begin + len(weights)].astype(np.float64)
            line[:] = np.clip(np.floor((total + 2 ** (_FRACTION_BITS - 1)) * 2.0**-_FRACTION_BITS), 0, 255)
        return result.reshape(len(result), *image.shape[1:])


def _weights(i: int, inputs: int, scale: float, interpolation: str) -> tuple[int, Doubles]:
    """First input and fixed-point weights of output i."""
    function, support = _FILTERS[interpolation]
    stretch = max(scale, 1.0)
    support *= stretch
    center = (i + 0.5) * scale
    start = max(int(center - support + 0.5), 0)
    stop = min(int(center + support + 0.5), inputs)
    positions = np.arange(start, stop, dtype=np.float64)
    weights = function((positions - center + 0.5) * (1.0 / stretch))
    # One after the other, as Pillow adds them: a pairwise sum may differ in the last bit.
    total = float(np.cumsum(weights)[-1])
    weights = weights / total if total else weights
    return start, np.trunc(weights * 2**_FRACTION_BITS + np.where(weights < 0, -0.5, 0.5))
