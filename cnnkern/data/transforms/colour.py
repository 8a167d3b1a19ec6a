# SPDX-License-Identifier: BSD-3-Clause
"""Brightness, contrast, saturation, and offsets of the channels."""

from __future__ import annotations

from typing import Any, ClassVar

from cnnkern.data.transforms.compose import Transform, interval, number
from cnnkern.data.transforms.geometry import between
from cnnkern.data.transforms.plan import Plan


class ColorJitter(Transform):
    """Brightness, then contrast, then saturation, each by a random factor.

    Brightness multiplies; contrast goes away from the picture's mean gray, or towards it; saturation from each pixel's
    gray. Values are limited to 0..1 after the last colour of the chain, not in between.

    Args:
        brightness: factors (least, most), or v for (max(0, 1 - v), 1 + v).
        contrast: the same.
        saturation: the same; a gray image has none.
    """

    draws: ClassVar[int] = 3

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0.0,
        contrast: float | tuple[float, float] = 0.0,
        saturation: float | tuple[float, float] = 0.0,
        p: float = 1.0,
        *,
        seed: int | None = None,
    ) -> None:
        self.brightness = self._factors("brightness", brightness)
        self.contrast = self._factors("contrast", contrast)
        self.saturation = self._factors("saturation", saturation)
        super().__init__(p, seed)

    def _factors(self, name: str, value: Any) -> tuple[float, float]:
        if isinstance(value, (tuple, list)):
            return interval(self, name, value, 0.0, 1e3)
        most = number(self, name, value, 0.0, 1e3)
        return max(0.0, 1.0 - most), 1.0 + most

    def apply(self, plan: Plan, u: list[float]) -> None:
        for limits, change, v in (
            (self.brightness, plan.brighten, u[0]),
            (self.contrast, plan.contrast, u[1]),
            (self.saturation, plan.saturate, u[2]),
        ):
            if limits != (1.0, 1.0):
                change(between(limits, v))


class ColorShift(Transform):
    """Add a random number to each channel.

    Args:
        shift: (least, most) of values in 0..1, or s for (-s, s).
    """

    draws: ClassVar[int] = 4

    def __init__(self, shift: float | tuple[float, float] = 0.1, p: float = 1.0, *, seed: int | None = None) -> None:
        if isinstance(shift, (tuple, list)):
            self.shift = interval(self, "shift", shift, -1.0, 1.0)
        else:
            most = number(self, "shift", shift, 0.0, 1.0)
            self.shift = -most, most
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        plan.shift_colours([between(self.shift, v) for v in u[: plan.channels]])
