# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors, rotations, shears, zooms and local warps: the size of the picture stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from cnnkern.data.transforms.compose import Transform, interval, number
from cnnkern.data.transforms.plan import Plan


class RandomHorizontalFlip(Transform):
    """Left becomes right."""

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        plan.place((-1.0, 0.0, float(plan.width), 0.0, 1.0, 0.0))


class RandomVerticalFlip(Transform):
    """Top becomes bottom."""

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        plan.place((1.0, 0.0, 0.0, 0.0, -1.0, float(plan.height)))


def turn(
    plan: Plan,
    clockwise: float = 0.0,
    translate: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: tuple[float, float] = (0.0, 0.0),
) -> None:
    """About the centre: shear along x, shear along y, scale, rotate, translate. Angles in degrees, pixels otherwise."""
    angle, along_x, along_y = (math.radians(value) for value in (clockwise, *shear))
    cos, sin = math.cos(angle), math.sin(angle)
    tan_x, tan_y = math.tan(along_x), math.tan(along_y)
    # Rotation times [[1, 0], [-tan_y, 1]] times [[1, -tan_x], [0, 1]], of determinant 1; below it is inverted.
    a, b = cos + sin * tan_y, -cos * tan_x - sin * (1 + tan_x * tan_y)
    c, d = sin - cos * tan_y, -sin * tan_x + cos * (1 + tan_x * tan_y)
    x, y = plan.width / 2, plan.height / 2
    a, b, c, d = d / scale, -b / scale, -c / scale, a / scale
    from_x, from_y = x + translate[0], y + translate[1]
    plan.place((a, b, x - a * from_x - b * from_y, c, d, y - c * from_x - d * from_y))


class RandomRotation(Transform):
    """About the centre, counter-clockwise.

    Args:
        degrees: (least, most), or a number d for (-d, d).
    """

    draws: ClassVar[int] = 1

    def __init__(self, degrees: float | tuple[float, float], p: float = 1.0, *, seed: int | None = None) -> None:
        self.degrees = around_zero(self, "degrees", degrees)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        turn(plan, -between(self.degrees, u[0]))


class RandomAffine(Transform):
    """Rotation, translation, scale and shear about the centre, drawn together.

    Args:
        degrees: of rotation, clockwise: (least, most), or a number d for (-d, d).
        translate: at most these shares of the width and the height, either way.
        scale: (least, most) factor.
        shear: degrees along x, (least, most) or d for (-d, d); or (least x, most x, least y, most y).
    """

    draws: ClassVar[int] = 6

    def __init__(
        self,
        degrees: float | tuple[float, float],
        translate: tuple[float, float] | None = None,
        scale: tuple[float, float] | None = None,
        shear: float | Sequence[float] | None = None,
        p: float = 1.0,
        *,
        seed: int | None = None,
    ) -> None:
        self.degrees = around_zero(self, "degrees", degrees)
        if translate is not None and (not isinstance(translate, (tuple, list)) or len(translate) != 2):
            raise TypeError(f"RandomAffine: translate expected a pair of shares, found {translate!r}")
        self.translate = tuple(number(self, "translate", value, 0.0, 1.0) for value in translate or (0.0, 0.0))
        self.scale = (1.0, 1.0) if scale is None else interval(self, "scale", scale, 1e-3, 1e3)
        four = isinstance(shear, (tuple, list)) and len(shear) == 4
        parts: Any = (shear[:2], shear[2:]) if four and isinstance(shear, (tuple, list)) else (shear or 0.0, 0.0)
        self.shear = tuple(around_zero(self, "shear", part, 89.0) for part in parts)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        across = self.translate[0] * plan.width * (2 * u[1] - 1)
        down = self.translate[1] * plan.height * (2 * u[2] - 1)
        shear = between(self.shear[0], u[4]), between(self.shear[1], u[5])
        turn(plan, between(self.degrees, u[0]), (across, down), between(self.scale, u[3]), shear)


class RandomShear(Transform):
    """Along x by one angle and along y by another, about the centre.

    Args:
        degrees: (least, most) for both, or a number d for (-d, d).
    """

    draws: ClassVar[int] = 2

    def __init__(self, degrees: float | tuple[float, float], p: float = 1.0, *, seed: int | None = None) -> None:
        self.degrees = around_zero(self, "degrees", degrees, 89.0)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        turn(plan, shear=(between(self.degrees, u[0]), between(self.degrees, u[1])))


class RandomZoom(Transform):
    """Larger or smaller about the centre, in the same frame.

    Args:
        scale: (least, most) factor; below 1 the border comes in sight.
    """

    draws: ClassVar[int] = 1

    def __init__(self, scale: tuple[float, float] = (0.8, 1.25), p: float = 1.0, *, seed: int | None = None) -> None:
        self.scale = interval(self, "scale", scale, 1e-3, 1e3)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        # Even between the logarithms: half and double are as likely as each other.
        turn(plan, scale=self.scale[0] * (self.scale[1] / self.scale[0]) ** u[0])


class ElasticTransform(Transform):
    """A local warp: every point moves by smooth noise (Simard, Steinkraus and Platt, 2003). At most one in a chain.

    Args:
        alpha: strength; uniform noise in -alpha / 2 .. alpha / 2 pixels, then smoothed.
        sigma: standard deviation of the smoothing Gaussian, in pixels.
    """

    def __init__(self, alpha: float = 50.0, sigma: float = 5.0, p: float = 1.0, *, seed: int | None = None) -> None:
        self.alpha = number(self, "alpha", alpha, 0.0, 1e6)
        self.sigma = number(self, "sigma", sigma, 0.1, 1e3)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        plan.warp(self.sigma, self.alpha / 2)


def around_zero(owner: object, name: str, value: Any, limit: float = 360.0) -> tuple[float, float]:
    """(least, most), or (-value, value)."""
    if isinstance(value, (tuple, list)):
        return interval(owner, name, value, -limit, limit)
    most = number(owner, name, value, 0.0, limit)
    return -most, most


def between(limits: tuple[float, float], u: float) -> float:
    """The place u of 0..1 between two numbers."""
    return limits[0] + (limits[1] - limits[0]) * u
