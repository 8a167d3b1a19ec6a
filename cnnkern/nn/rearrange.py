# SPDX-License-Identifier: BSD-3-Clause
"""Layers that move elements: pixel and channel shuffles, an axis taken apart."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class PixelShuffle(Module):
    """Channels become pixels: sub-pixel convolution (Shi et al., 2016)."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = check.integer("PixelShuffle", "upscale_factor", upscale_factor, 1)

    def forward(self, input: Any) -> Any:
        """(*, C r^2, H, W) -> (*, C, H r, W r) with r = upscale_factor."""
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels: the inverse of `PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = check.integer("PixelUnshuffle", "downscale_factor", downscale_factor, 1)

    def forward(self, input: Any) -> Any:
        """(*, C, H r, W r) -> (*, C r^2, H, W) with r = downscale_factor."""
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channel i of group g goes to place i * groups + g (Zhang et al., 2018: ShuffleNet)."""

    def __init__(self, groups: int) -> None:
        self.groups = check.integer("ChannelShuffle", "groups", groups, 1)

    def forward(self, input: Any) -> Any:
        """(N, C, ...) of three axes or more, the shape kept."""
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unflatten(Module):
    """Axis `dim` taken apart into several of the sizes `unflattened_size`, one of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        self.dim = check.integer("Unflatten", "dim", dim)
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of integers, found {unflattened_size!r}")
        self.unflattened_size = tuple(
            check.integer("Unflatten", "unflattened_size", size, -1) for size in unflattened_size
        )

    def forward(self, input: Any) -> Any:
        """(..., n, ...) -> (..., *unflattened_size, ...)."""
        return functional.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
