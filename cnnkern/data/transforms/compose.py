# SPDX-License-Identifier: BSD-3-Clause
"""Chains of transforms."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cnnkern.data._draws import uniforms
from cnnkern.data.transforms.plan import Plan

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_BORDERS = {"constant": 0, "edge": 1, "symmetric": 2}
_MAX_SIDE = 1 << 20


class Transform:
    """One step of a chain. Called alone on an image it is a chain of one.

    Args:
        p: how often it happens, 0 to 1.
        seed: of its own draws, 0 .. 2^64 - 1; None takes the chain's.
    """

    # How many numbers it draws beside the one for p; 0 for a transform without chance.
    draws: ClassVar[int] = 0
    # Steps come in the order of their phases: 0 the shape and the colours, 1 noise, 2 what follows.
    phase: ClassVar[int] = 0
    views: ClassVar[int] = 1

    def __init__(self, p: float = 1.0, seed: int | None = None) -> None:
        self.p = number(self, "p", p, 0.0, 1.0)
        self.seed = None if seed is None else whole(self, "seed", seed, 0, 2**64 - 1)

    def apply(self, plan: Plan, u: list[float]) -> None:
        """Add to the plan what the numbers u, each between 0 and 1, say."""
        raise NotImplementedError

    def skip(self, plan: Plan) -> None:
        """What happens where the step does not: nothing, or what gives a picture of the same size."""

    def __call__(self, image: Any, *, epoch: int = 0, index: int = 0) -> Floats:
        """As `Compose([self])(image)`."""
        return Compose([self])(image, epoch=epoch, index=index)

    def __repr__(self) -> str:
        values = {name: value for name, value in vars(self).items() if not (name == "seed" and value is None)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


class Compose:
    """Several transforms as one: one resampling of the image, one pass for its colours.

    Crops, mirrors, rotations and the like are one map of points, and the image is sampled once: bilinear, with a wider
    filter where it shrinks. So a rotation after a crop finds the image's own pixels beyond the crop's border. Colours
    are one matrix, limited to 0..1 at its end; whether they stand before or after crops and mirrors makes no
    difference, except that contrast takes the mean of the final picture.

    Args:
        transforms: noise comes after all shapes and colours, `Normalize` and `RandomErasing` after noise.
        seed: of everything that is drawn, 0 .. 2^64 - 1. The draws are a function of the seed, the epoch, the number of
            the example and the place in the list.
        fill: what is beyond the image, 0 to 255, one number or one per channel.
        padding_mode: "constant" (`fill`), "edge" (the outermost pixels go on) or "symmetric" (a mirror at the border).

    Raises:
        TypeError, ValueError: no transform, or in an order that cannot be done.
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        seed: int = 0,
        *,
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.transforms = tuple(transforms)
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise TypeError(f"Compose: expected transforms, found {type(transform).__name__}")
        for before, after in zip(self.transforms, self.transforms[1:], strict=False):
            if after.phase < before.phase:
                raise ValueError(
                    f"Compose: {type(after).__name__} must come before {type(before).__name__}; shapes and "
                    "colours come first, then noise, then Normalize and RandomErasing"
                )
        if sum(transform.views > 1 for transform in self.transforms) > 1:
            raise ValueError("Compose: expected at most one FiveCrop or TenCrop, found several")
        if padding_mode not in _BORDERS:
            raise ValueError(f"Compose: padding_mode must be one of {', '.join(_BORDERS)}, found {padding_mode!r}")
        self.seed = whole(self, "seed", seed, 0, 2**64 - 1)
        self.padding_mode = padding_mode
        values = fill if isinstance(fill, (tuple, list)) else (fill,)
        self.fill = tuple(number(self, "fill", value, 0, 255) for value in values)
        self.views = max([transform.views for transform in self.transforms], default=1)

    def __call__(self, image: Any, *, epoch: int = 0, index: int = 0) -> Floats:
        """One image -> (C, height, width) float32, or (views, C, height, width) after FiveCrop or TenCrop.

        Args:
            image: (H, W, C) or (H, W) uint8 of 1 to 4 channels, or a Pillow image.
            epoch, index: which draws; the same numbers give the same picture.
        """
        result: Floats = self.batch([image], epoch=epoch, indices=[index])[0]
        return result

    def batch(
        self, images: Iterable[Any], *, epoch: int = 0, indices: Sequence[int] | None = None, out: Floats | None = None
    ) -> Floats:
        """Several images -> (N, C, height, width) float32, or (N, views, ...); they may have different sizes.

        Args:
            images: as in a call.
            epoch: which draws.
            indices: the numbers of the examples, 0, 1, 2, ... by default.
            out: where to write; one of the right shape, C-contiguous.

        Raises:
            TypeError, ValueError: an image of another kind, or results of different sizes.
        """
        images = list(images)
        epoch = whole(self, "epoch", epoch, 0, 2**64 - 1)
        numbers = range(len(images)) if indices is None else [whole(self, "index", i, 0, 2**64 - 1) for i in indices]
        if len(numbers) != len(images) or not images:
            raise ValueError(f"Compose: expected images and as many indices, found {len(images)} and {len(numbers)}")
        for position, (image, index) in enumerate(zip(images, numbers, strict=True)):
            pixels = as_pixels(image)
            for view in range(self.views):
                plan = self._plan(pixels, epoch, index, view)
                shape = (pixels.shape[2], plan.height, plan.width)
                full = (len(images), *([self.views] if self.views > 1 else []), *shape)
                if out is None:
                    out = np.empty(full, np.float32)
                if out.shape != full or out.dtype != np.float32 or not out.flags.c_contiguous:
                    raise ValueError(
                        f"Compose: image {position} becomes {shape}, but the batch has {out.shape} {out.dtype}; "
                        "RandomResizedCrop, RandomCrop and Resize((height, width)) make all sizes equal"
                    )
                place = out[position, view] if self.views > 1 else out[position]
                plan.run(pixels, place, _BORDERS[self.padding_mode], self._fill(pixels.shape[2]))
        assert out is not None
        return out

    def _plan(self, pixels: Bytes, epoch: int, index: int, view: int) -> Plan:
        plan = Plan(pixels.shape[0], pixels.shape[1], pixels.shape[2], view)
        for position, transform in enumerate(self.transforms):
            plan.key = (self.seed if transform.seed is None else transform.seed, epoch, index, position)
            if not transform.draws and transform.p == 1.0:
                transform.apply(plan, [])
                continue
            chance, *u = uniforms(plan.key, 1 + transform.draws)
            if chance < transform.p:
                transform.apply(plan, u)
            else:
                transform.skip(plan)
            if not 0 < max(plan.height, plan.width) <= _MAX_SIDE:
                raise ValueError(f"{transform!r}: a picture of {plan.height} x {plan.width} pixels cannot be made")
        return plan

    def _fill(self, channels: int) -> tuple[float, ...]:
        if len(self.fill) not in (1, channels):
            raise ValueError(f"Compose: fill expects one value or {channels}, found {len(self.fill)}")
        return self.fill if len(self.fill) == channels else self.fill * channels

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}], seed={self.seed})"


def as_pixels(image: Any) -> Bytes:
    """An image as (H, W, C) uint8, C-contiguous."""
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        image = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        hint = "; use (x * 255).round().astype(np.uint8)" if found.startswith("float") else ""
        raise TypeError(f"transforms: an image must be a Pillow image or a uint8 array (H, W, C), found {found}{hint}")
    pixels = image[:, :, None] if image.ndim == 2 else image
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or not pixels.size:
        hint = "; this looks like (C, H, W), use x.transpose(1, 2, 0)" if image.shape[:1] in ((1,), (3,)) else ""
        raise ValueError(f"transforms: an image must have shape (H, W) or (H, W, 1 to 4), found {image.shape}{hint}")
    return np.ascontiguousarray(pixels)


def number(owner: object, name: str, value: Any, low: float = -1e6, high: float = 1e6) -> float:
    """A checked float.

    Raises:
        TypeError, ValueError: no number, or one beyond the limits.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{type(owner).__name__}: {name} expected a number, found {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{type(owner).__name__}: {name} must lie in {low:g} .. {high:g}, found {value}")
    return float(value)


def whole(owner: object, name: str, value: Any, low: int, high: int = _MAX_SIDE) -> int:
    """A checked integer, as `number`."""
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{type(owner).__name__}: {name} expected an integer, found {value!r}") from None
    if not low <= found <= high:
        raise ValueError(f"{type(owner).__name__}: {name} must lie in {low} .. {high}, found {found}")
    return found


def interval(owner: object, name: str, value: Any, low: float = -1e6, high: float = 1e6) -> tuple[float, float]:
    """A checked pair of floats, the smaller first.

    Raises:
        TypeError, ValueError: something else.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{type(owner).__name__}: {name} expected a pair (low, high), found {value!r}")
    first, second = (number(owner, name, part, low, high) for part in value)
    if first > second:
        raise ValueError(f"{type(owner).__name__}: {name} expected (low, high), found {value!r}")
    return first, second


def size_pair(owner: object, size: Any) -> tuple[int, int]:
    """A size, one integer for a square or (height, width), checked."""
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"{type(owner).__name__}: size expected an integer or (height, width), found {size!r}")
    return whole(owner, "size", pair[0], 1), whole(owner, "size", pair[1], 1)
