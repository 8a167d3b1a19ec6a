# SPDX-License-Identifier: BSD-3-Clause
"""Random choices that cases are made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
from case import Shape

MOST_MACS = 1_000_000
MOST_ELEMENTS = 40_000

_NEAR_VECTOR = [*range(1, 18), 31, 32, 33]  # around 4, 8 and 16 lanes, and around two registers of 16
_TILES = [6, 7, 13, 14, 15, 24, 27, 28, 29, 56]  # around the tiles of pixels and the maps of common networks


class Draw:
    """Random choices of one case."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def among(self, *values: Any) -> Any:
        return values[int(self._rng.integers(len(values)))]

    def between(self, low: int, high: int) -> int:
        """low <= n <= high."""
        return int(self._rng.integers(low, high + 1))

    def size(self) -> int:
        """A size of an axis."""
        return int(self.among(*(_TILES if self.chance(0.12) else _NEAR_VECTOR)))

    def small(self) -> int:
        """A size that leaves room for large other axes."""
        return int(self.among(1, 1, 2, 3, 4, 5, 7))

    def channels(self) -> int:
        return int(self.among(48, 64, 65, 80)) if self.chance(0.08) else int(self.among(*_NEAR_VECTOR))

    def batch(self) -> int:
        if self.chance(0.08):
            return int(self.among(16, 32))  # images in lanes
        return 0 if self.chance(0.01) else int(self.among(1, 1, 1, 2, 2, 3, 5))

    def order(self, count: int) -> list[int]:
        """A permutation."""
        return [int(place) for place in self._rng.permutation(count)]

    def sizes(self, axes: int, one: Callable[[], int]) -> tuple[int, ...]:
        """One for each axis, all the same three times out of four."""
        first = one()
        return (first,) * axes if self.chance(0.75) else tuple(one() for _ in range(axes))

    def spatial(self, axes: int) -> tuple[int, ...]:
        """The spatial sizes of a map; small ones where there are three."""
        return tuple(self.size() if axes < 3 else self.among(1, 3, 4, 5, 5, 6, 7, 9, 14, 17) for _ in range(axes))

    def shape(self, low: int = 1, high: int = 4) -> Shape:
        """A shape of low to high axes, rarely with an empty one."""
        while True:
            shape = tuple(self.size() for _ in range(self.between(low, high)))
            if np.prod(shape) <= MOST_ELEMENTS:
                break
        if shape and self.chance(0.02):
            axis = self.between(0, len(shape) - 1)
            shape = (*shape[:axis], 0, *shape[axis + 1 :])
        return shape


def epilogue(draw: Draw, long: bool = False) -> dict[str, Any]:
    """long: also activations that take an exponential."""
    if draw.chance(0.6):
        return {}
    if long and draw.chance(0.4):
        return {"activation": draw.among("silu", "hardswish", "sigmoid", "hardsigmoid")}
    return {"activation": draw.among("relu", "leaky_relu", "clamp")}


def axes_of(op: str) -> int:
    """Spatial axes of conv1d, max_pool3d_grad, ..."""
    return next(axes for axes in (1, 2, 3) if f"{axes}d" in op)


def maps(draw: Draw, axes: int) -> Shape:
    while True:
        shape = (draw.batch(), draw.channels(), *draw.spatial(axes))
        if np.prod(shape) <= MOST_ELEMENTS:
            return shape
