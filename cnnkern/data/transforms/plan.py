# SPDX-License-Identifier: BSD-3-Clause
"""What a chain of transforms does to one image: one map, one colour matrix, noise, rectangles, one normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern.data._augment import render
from cnnkern.data._colours import recolour
from cnnkern.data._draws import add_normal, displacement

Map = tuple[float, float, float, float, float, float]
Key = tuple[int, ...]
Matrix = list[list[float]]
IDENTITY: Map = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# ITU-R BT.601, as in torchvision's rgb_to_grayscale.
_GRAY = {1: (1.0,), 3: (0.2989, 0.587, 0.114)}
_LIMIT = 3.0e38  # of float32


class Plan:
    """What the transforms of a chain have drawn for one image; each adds its part.

    `height` and `width` are those of the picture as it is after the transforms so far. Colours are in 0..1: an affine
    function of a pixel and of the picture's mean colour, so that any number of them is one.
    """

    def __init__(self, height: int, width: int, channels: int, view: int = 0) -> None:
        self.height, self.width, self.channels, self.view = height, width, channels, view
        self.key: Key = ()
        self._map, self._before = IDENTITY, IDENTITY
        self._elastic: tuple[Any, ...] | None = None
        self._linear: Matrix | None = None
        self._of_mean: Matrix | None = None
        self._offset = [0.0] * channels
        self._coloured = False
        self._noise: list[tuple[Key, float, float, bool]] = []
        self._scale, self._shift = [1.0] * channels, [0.0] * channels
        self._erased: list[tuple[tuple[int, int, int, int], Any, list[float], list[float], Key]] = []

    def place(self, map: Map, height: int | None = None, width: int | None = None) -> None:
        """`map` gives, for a point of the new picture, the point of the one so far."""
        a, b, c, d, e, f = self._map
        p, q, r, s, t, u = map
        self._map = (a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f)
        self.height, self.width = height or self.height, width or self.width

    def warp(self, sigma: float, amplitude: float) -> None:
        """Move every point of the picture by a smooth random displacement."""
        if self._elastic is not None:
            raise ValueError("Compose: expected at most one ElasticTransform, found two")
        self._elastic = (self.height, self.width, (*self.key, 1), sigma, amplitude)
        self._before, self._map = self._map, IDENTITY

    def shift_colours(self, offsets: list[float]) -> None:
        """Add a number to each channel."""
        self._coloured = True
        self._offset = [value + offset for value, offset in zip(self._offset, offsets, strict=True)]

    def brighten(self, factor: float) -> None:
        """Multiply by a factor."""
        self._linear = [[factor * value for value in row] for row in self._matrix()]
        if self._of_mean is not None:
            self._of_mean = [[factor * value for value in row] for row in self._of_mean]
        self._offset = [factor * value for value in self._offset]
        self._coloured = True

    def saturate(self, factor: float) -> None:
        """Away from each pixel's gray, or towards it."""
        if self.channels == 1:
            return
        gray = self._gray("saturation")
        self._linear = _toward_gray(self._matrix(), gray, factor)
        if self._of_mean is not None:
            self._of_mean = _toward_gray(self._of_mean, gray, factor)
        self._offset = [value for (value,) in _toward_gray([[value] for value in self._offset], gray, factor)]
        self._coloured = True

    def contrast(self, factor: float) -> None:
        """Away from the picture's mean gray, or towards it."""
        gray, rest, matrix = self._gray("contrast"), 1 - factor, self._matrix()
        of_mean = self._of_mean or [[0.0] * self.channels for _ in gray]
        pull = [
            rest * sum(g * (row[j] + other[j]) for g, row, other in zip(gray, matrix, of_mean, strict=True))
            for j in range(self.channels)
        ]
        level = rest * sum(g * value for g, value in zip(gray, self._offset, strict=True))
        self._of_mean = [[factor * value + p for value, p in zip(row, pull, strict=True)] for row in of_mean]
        self._linear = [[factor * value for value in row] for row in matrix]
        self._offset = [factor * value + level for value in self._offset]
        self._coloured = True

    def add_noise(self, mean: float, sigma: float, clip: bool) -> None:
        """Normal noise, each value its own."""
        self._noise.append(((*self.key, 2), mean, sigma, clip))

    def normalize(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """(value - mean) / std per channel."""
        self._scale = [value / s for value, s in zip(self._scale, std, strict=True)]
        self._shift = [(value - m) / s for value, m, s in zip(self._shift, mean, std, strict=True)]

    def erase(self, top: int, left: int, height: int, width: int, value: Any) -> None:
        """Fill a rectangle with a value per channel, or with normal noise where value is None."""
        self._erased.append(((top, left, height, width), value, self._scale, self._shift, (*self.key, 3)))

    def run(
        self, image: npt.NDArray[np.uint8], out: npt.NDArray[np.float32], border: int, fill: tuple[float, ...]
    ) -> None:
        """Compute the picture (channels, height, width) from the image (H, W, channels)."""
        field = None if self._elastic is None else displacement(*self._elastic)
        before = None if field is None else self._before
        unit, zero = [1.0] * self.channels, [0.0] * self.channels
        scale, shift = (unit, zero) if self._noise else (self._scale, self._shift)
        if self._of_mean is None:
            render(
                image, out, self._map, field, before, border, fill, self._colours(1 / 255, self._offset, scale, shift)
            )
        else:
            plain = Plan(0, 0, self.channels)._colours(1 / 255, zero, unit, zero)
            render(image, out, self._map, field, before, border, fill, plain)
            mean = out.reshape(self.channels, -1).mean(1).tolist()
            offset = [
                value + sum(w * m for w, m in zip(row, mean, strict=True))
                for value, row in zip(self._offset, self._of_mean, strict=True)
            ]
            recolour(out, self._colours(1.0, offset, scale, shift))
        for key, level, sigma, clip in self._noise:
            add_normal(out, key, level, sigma, 0.0 if clip else -_LIMIT, 1.0 if clip else _LIMIT)
        if self._noise:
            recolour(out, Plan(0, 0, self.channels)._colours(1.0, zero, self._scale, self._shift))
        for box, value, its_scale, its_shift, key in self._erased:
            self._fill(out, box, value, its_scale, its_shift, key)

    def _matrix(self) -> Matrix:
        if self._linear is None:
            self._linear = [[float(i == j) for j in range(self.channels)] for i in range(self.channels)]
        return self._linear

    def _gray(self, what: str) -> tuple[float, ...]:
        if self.channels not in _GRAY:
            raise ValueError(f"ColorJitter: {what} expects an image of 1 or 3 channels, found {self.channels}")
        return _GRAY[self.channels]

    def _colours(self, unit: float, offset: list[float], scale: list[float], shift: list[float]) -> tuple[float, ...]:
        """For `render`: the colour matrix on numbers that `unit` brings to 0..1, limits, then scale and shift."""
        rows: list[float] = []
        low, high = [-_LIMIT] * self.channels, [_LIMIT] * self.channels
        for i, (o, a, b) in enumerate(zip(offset, scale, shift, strict=True)):
            if self._linear is None:
                rows += [a * unit if j == i else 0.0 for j in range(self.channels)]
            else:
                rows += [a * unit * value for value in self._linear[i]]
            rows.append(a * o + b)
            if self._coloured:
                low[i], high[i] = b, a + b
        return (*rows, *low, *high)

    def _fill(
        self,
        out: npt.NDArray[np.float32],
        box: tuple[int, ...],
        value: Any,
        scale: list[float],
        shift: list[float],
        key: Key,
    ) -> None:
        top, left, height, width = box
        part = out[:, top : top + height, left : left + width]
        part[:] = 0.0
        if value is None:
            add_normal(part, key, 0.0, 1.0, -_LIMIT, _LIMIT)
        for c, plane in enumerate(part):
            if value is not None:
                plane += value[c]
            # What was meant before a normalization goes through it.
            factor = self._scale[c] / scale[c]
            plane *= factor
            plane += self._shift[c] - shift[c] * factor


def _toward_gray(matrix: Matrix, gray: tuple[float, ...], factor: float) -> Matrix:
    """factor * matrix + (1 - factor) * its rows' gray."""
    mixed = [(1 - factor) * sum(g * row[j] for g, row in zip(gray, matrix, strict=True)) for j in range(len(matrix[0]))]
    return [[factor * value + g for value, g in zip(row, mixed, strict=True)] for row in matrix]
