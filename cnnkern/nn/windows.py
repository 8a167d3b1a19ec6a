# SPDX-License-Identifier: BSD-3-Clause
"""Layers around windows of images: unfolding, folding, filters that are not learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class Unfold(Module):
    """Every window as a column (im2col)."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self.kernel_size = check.pair("Unfold", "kernel_size", kernel_size, 1)
        self.dilation = check.pair("Unfold", "dilation", dilation, 1)
        self.padding = check.pair("Unfold", "padding", padding, 0)
        self.stride = check.pair("Unfold", "stride", stride, 1)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) or (C, H, W) -> (N, C * kernel_h * kernel_w, L)."""
        return functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Fold(Module):
    """Columns back into an image of `output_size`, where they overlap added up (col2im)."""

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        self.output_size = check.pair("Fold", "output_size", output_size, 1)
        self.kernel_size = check.pair("Fold", "kernel_size", kernel_size, 1)
        self.dilation = check.pair("Fold", "dilation", dilation, 1)
        self.padding = check.pair("Fold", "padding", padding, 0)
        self.stride = check.pair("Fold", "stride", stride, 1)

    def forward(self, input: Any) -> Any:
        """(N, C * kernel_h * kernel_w, L) or without N -> (N, C, *output_size)."""
        return functional.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, kernel_size={self.kernel_size}, stride={self.stride}"


class FixedFilter(Module):
    """Every channel through the same given filters, which are not learned.

    kernels: (K, R, S), or (R, S) for one; channel c gives channels c * K to c * K + K - 1 of the result. The buffer
    `weight`, (channels * K, 1, R, S), holds them. `padding` as of `Conv2d`.
    """

    def __init__(self, channels: int, kernels: npt.ArrayLike, stride: Any = 1, padding: Any = 0) -> None:
        self.channels = check.integer("FixedFilter", "channels", channels, 1)
        filters = np.asarray(kernels, np.float32)
        filters = filters[None] if filters.ndim == 2 else filters
        if filters.ndim != 3 or 0 in filters.shape:
            raise ValueError(f"FixedFilter: kernels must have shape (K, R, S) or (R, S), found {filters.shape}")
        self.stride = check.pair("FixedFilter", "stride", stride, 1)
        self.padding = padding if isinstance(padding, str) else check.pair("FixedFilter", "padding", padding, 0)
        self.register_buffer("weight", np.tile(filters, (self.channels, 1, 1))[:, None])

    def forward(self, input: Any) -> Any:
        """(N, channels, H, W) -> (N, channels * K, H', W')."""
        return functional.conv2d(input, self.weight, None, self.stride, self.padding, 1, self.channels)

    def extra_repr(self) -> str:
        return f"{self.channels}, {tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}"


class Sobel(Module):
    """The magnitude of each channel's gradient (Sobel and Feldman, 1968): `functional.sobel` as a layer."""

    def __init__(self, padding: int = 1, padding_mode: str = "replicate") -> None:
        self.padding = check.integer("Sobel", "padding", padding, 0)
        self.padding_mode = check.choice(
            "Sobel", "padding_mode", padding_mode, ("constant", "replicate", "reflect", "circular")
        )

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) or (C, H, W); with padding 1 the shape is kept."""
        return functional.sobel(input, self.padding, self.padding_mode)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, padding_mode={self.padding_mode!r}"
