# SPDX-License-Identifier: BSD-3-Clause
"""What happens to the picture when its shape and colours are done: noise, normalization, erased rectangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from cnnkern.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from cnnkern.data.transforms.compose import Transform, interval, number
from cnnkern.data.transforms.geometry import between
from cnnkern.data.transforms.plan import Plan

_ATTEMPTS = 10


class GaussianNoise(Transform):
    """Add normal noise to values in 0..1.

    Args:
        mean, sigma: of the noise.
        clip: limit the sum to 0..1.
    """

    phase: ClassVar[int] = 1

    def __init__(
        self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, p: float = 1.0, *, seed: int | None = None
    ) -> None:
        self.mean, self.sigma, self.clip = number(self, "mean", mean), number(self, "sigma", sigma, 0.0), bool(clip)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        plan.add_noise(self.mean, self.sigma, self.clip)


class Normalize(Transform):
    """(value - mean) / std of values in 0..1.

    Args:
        mean: per channel, or one for all; ImageNet's by default.
        std: the same, positive.
    """

    phase: ClassVar[int] = 2

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        self.mean = tuple(number(self, "mean", value) for value in mean)
        self.std = tuple(number(self, "std", value, 1e-6) for value in std)
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"Normalize: expected as many means as stds, found {len(self.mean)} and {len(self.std)}")
        super().__init__()

    def apply(self, plan: Plan, u: list[float]) -> None:
        count = len(self.mean)
        if count not in (1, plan.channels):
            raise ValueError(f"Normalize: expected an image of {count} channels, found {plan.channels}")
        repeat = plan.channels // count
        plan.normalize(self.mean * repeat, self.std * repeat)


class RandomErasing(Transform):
    """Cutout: fill a random rectangle (DeVries and Taylor, 2017; Zhong and others, 2017).

    Args:
        p: how often.
        scale: (least, most) share of the area.
        ratio: (least, most) height to width, drawn evenly between the logarithms.
        value: one for all channels, or one per channel, as values are at this place of the chain; "random" is normal
            noise.
    """

    phase: ClassVar[int] = 2
    draws: ClassVar[int] = 2 * _ATTEMPTS + 2

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0.0,
        *,
        seed: int | None = None,
    ) -> None:
        self.scale, self.ratio = interval(self, "scale", scale, 0.0, 1.0), interval(self, "ratio", ratio, 1e-3, 1e3)
        self.value: tuple[float, ...] | str
        if isinstance(value, str):
            if value != "random":
                raise ValueError(f'RandomErasing: value must be "random" or numbers, found {value!r}')
            self.value = value
        else:
            values = value if isinstance(value, (tuple, list)) else (value,)
            self.value = tuple(number(self, "value", part) for part in values)
        super().__init__(p, seed)

    def apply(self, plan: Plan, u: list[float]) -> None:
        if isinstance(self.value, str):
            value = None
        elif len(self.value) in (1, plan.channels):
            value = self.value if len(self.value) == plan.channels else self.value * plan.channels
        else:
            raise ValueError(f"RandomErasing: value expects one number or {plan.channels}, found {len(self.value)}")
        logarithms = math.log(self.ratio[0]), math.log(self.ratio[1])
        for i in range(0, 2 * _ATTEMPTS, 2):
            area = plan.height * plan.width * between(self.scale, u[i])
            ratio = math.exp(between(logarithms, u[i + 1]))
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < height <= plan.height and 0 < width <= plan.width:
                top = math.floor(u[-2] * (plan.height - height + 1))
                plan.erase(top, math.floor(u[-1] * (plan.width - width + 1)), height, width, value)
                return
