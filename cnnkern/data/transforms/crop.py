# SPDX-License-Identifier: BSD-3-Clause
"""Crops and sizes."""

from __future__ import annotations

import math
from typing import ClassVar

from cnnkern.data.transforms.compose import Transform, interval, size_pair, whole
from cnnkern.data.transforms.geometry import between
from cnnkern.data.transforms.plan import Plan

Size = int | tuple[int, int]
_ATTEMPTS = 10


def cut(plan: Plan, top: float, left: float, height: int, width: int) -> None:
    """The part of the picture that begins at (top, left); what lies beyond it is border."""
    plan.place((1.0, 0.0, float(left), 0.0, 1.0, float(top)), height, width)


def cut_centre(plan: Plan, height: int, width: int) -> None:
    """The centre; it begins where torchvision's does, half pixels rounded to even."""
    cut(plan, round((plan.height - height) / 2), round((plan.width - width) / 2), height, width)


def resized(plan: Plan, top: float, left: float, height: float, width: float, size: tuple[int, int]) -> None:
    """A part of the picture in another size."""
    plan.place((width / size[1], 0.0, left, 0.0, height / size[0], top), *size)


class Resize(Transform):
    """Another size.

    Args:
        size: (height, width), or an integer for the shorter side.
    """

    def __init__(self, size: Size) -> None:
        self.size = whole(self, "size", size, 1) if isinstance(size, int) else size_pair(self, size)
        super().__init__()

    def apply(self, plan: Plan, u: list[float]) -> None:
        size = self.size
        if isinstance(size, int):
            longer = int(size * max(plan.height, plan.width) / min(plan.height, plan.width))
            size = (longer, size) if plan.height > plan.width else (size, longer)
        resized(plan, 0.0, 0.0, plan.height, plan.width, size)


class CenterCrop(Transform):
    """The centre; a smaller picture gets a border.

    Args:
        size: an integer for a square, or (height, width).
    """

    def __init__(self, size: Size) -> None:
        self.size = size_pair(self, size)
        super().__init__()

    def apply(self, plan: Plan, u: list[float]) -> None:
        cut_centre(plan, *self.size)


class RandomCrop(Transform):
    """A part of the picture of a given size; where it does not happen (p), the centre.

    Args:
        size: an integer for a square, or (height, width).
        padding: pixels of border on every side, into which the part may reach. A picture that is still too small gets
            as much as it needs.
    """

    draws: ClassVar[int] = 2

    def __init__(self, size: Size, padding: int = 0, p: float = 1.0, *, seed: int | None = None) -> None:
        self.size, self.padding = size_pair(self, size), whole(self, "padding", padding, 0)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        # One of the places 0 .. room, or 0 .. -room for a picture that is too small.
        spare = [
            side + 2 * self.padding - part for side, part in zip((plan.height, plan.width), self.size, strict=True)
        ]
        places = [math.copysign(math.floor(v * (abs(room) + 1)), room) for v, room in zip(u, spare, strict=True)]
        cut(plan, places[0] - self.padding, places[1] - self.padding, *self.size)

    def skip(self, plan: Plan) -> None:
        cut_centre(plan, *self.size)


class RandomResizedCrop(Transform):
    """A part of random area and shape in one size (Szegedy and others, 2014); where not (p), the whole picture.

    Args:
        size: an integer for a square, or (height, width).
        scale: (least, most) share of the area.
        ratio: (least, most) width to height, drawn evenly between the logarithms.
    """

    draws: ClassVar[int] = 2 * _ATTEMPTS + 2

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        p: float = 1.0,
        *,
        seed: int | None = None,
    ) -> None:
        self.size = size_pair(self, size)
        self.scale, self.ratio = interval(self, "scale", scale, 1e-6, 1.0), interval(self, "ratio", ratio, 1e-3, 1e3)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        height, width = self._part(plan, u)
        top = math.floor(u[-2] * (plan.height - height + 1))
        left = math.floor(u[-1] * (plan.width - width + 1))
        resized(plan, top, left, height, width, self.size)

    def skip(self, plan: Plan) -> None:
        resized(plan, 0.0, 0.0, plan.height, plan.width, self.size)

    def _part(self, plan: Plan, u: list[float]) -> tuple[int, int]:
        """The first height and width that fit; at last the largest part of the nearest shape."""
        logarithms = math.log(self.ratio[0]), math.log(self.ratio[1])
        for i in range(0, 2 * _ATTEMPTS, 2):
            area = plan.height * plan.width * between(self.scale, u[i])
            ratio = math.exp(between(logarithms, u[i + 1]))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= plan.width and 0 < height <= plan.height:
                return height, width
        ratio = min(max(plan.width / plan.height, self.ratio[0]), self.ratio[1])
        height, width = min(plan.height, round(plan.width / ratio)), min(plan.width, round(plan.height * ratio))
        return max(height, 1), max(width, 1)


class FiveCrop(Transform):
    """The four corners and the centre, as five views: the chain's result gets an axis for them.

    Args:
        size: an integer for a square, or (height, width); at most the picture's.
    """

    views: ClassVar[int] = 5

    def __init__(self, size: Size) -> None:
        self.size = size_pair(self, size)
        super().__init__()

    def apply(self, plan: Plan, u: list[float]) -> None:
        height, width = self.size
        room = plan.height - height, plan.width - width
        if min(room) < 0:
            raise ValueError(f"{self!r}: the picture has only {plan.height} x {plan.width} pixels")
        view = plan.view % 5
        if view == 4:
            cut_centre(plan, height, width)
        else:
            cut(plan, room[0] * (view // 2), room[1] * (view % 2), height, width)


class TenCrop(FiveCrop):
    """`FiveCrop`, then the five parts of the mirrored picture (Krizhevsky and others, 2012).

    Args:
        size: an integer for a square, or (height, width); at most the picture's.
        vertical_flip: mirror top and bottom instead of left and right.
    """

    views: ClassVar[int] = 10

    def __init__(self, size: Size, vertical_flip: bool = False) -> None:
        super().__init__(size)
        self.vertical_flip = bool(vertical_flip)

    def apply(self, plan: Plan, u: list[float]) -> None:
        if plan.view >= 5:
            upright = (1.0, 0.0, 0.0, 0.0, -1.0, float(plan.height))
            plan.place(upright if self.vertical_flip else (-1.0, 0.0, float(plan.width), 0.0, 1.0, 0.0))
        super().apply(plan, u)
