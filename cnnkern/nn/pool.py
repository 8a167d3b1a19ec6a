# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers. (N, C, H, W) -> (N, C, H', W')."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.conv import Sizes as Pair
from cnnkern.nn.module import Module


class MaxPool2d(Module):
    """Maximum over windows; NaN wins. `stride=None`: the kernel size; `return_indices` adds the maxima's h * W + w."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = check.sizes("MaxPool2d", "kernel_size", kernel_size, 2, 1)
        self.stride = self.kernel_size if stride is None else check.sizes("MaxPool2d", "stride", stride, 2, 1)
        self.padding = check.sizes("MaxPool2d", "padding", padding, 2, 0)
        self.dilation = check.sizes("MaxPool2d", "dilation", dilation, 2, 1)
        self.return_indices = check.boolean("MaxPool2d", "return_indices", return_indices)
        self.ceil_mode = check.boolean("MaxPool2d", "ceil_mode", ceil_mode)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W'), with `return_indices` a pair of that shape."""
        return functional.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """Mean over windows; `count_include_pad` lets padding count in the divisor, `divisor_override` replaces it."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = check.sizes("AvgPool2d", "kernel_size", kernel_size, 2, 1)
        self.stride = self.kernel_size if stride is None else check.sizes("AvgPool2d", "stride", stride, 2, 1)
        self.padding = check.sizes("AvgPool2d", "padding", padding, 2, 0)
        self.ceil_mode = check.boolean("AvgPool2d", "ceil_mode", ceil_mode)
        self.count_include_pad = check.boolean("AvgPool2d", "count_include_pad", count_include_pad)
        if divisor_override is not None:
            divisor_override = check.integer("AvgPool2d", "divisor_override", divisor_override)
            if divisor_override == 0:
                raise ValueError("AvgPool2d: divisor_override must not be 0")
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        return functional.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Mean over windows chosen to give `output_size`; 1 is global average pooling."""

    def __init__(self, output_size: Pair) -> None:
        self.output_size = check.sizes("AdaptiveAvgPool2d", "output_size", output_size, 2, 1)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, *output_size)."""
        return functional.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


class AdaptiveMaxPool2d(Module):
    """Maximum over windows chosen to give `output_size`."""

    def __init__(self, output_size: Pair, return_indices: bool = False) -> None:
        self.output_size = check.sizes("AdaptiveMaxPool2d", "output_size", output_size, 2, 1)
        self.return_indices = check.boolean("AdaptiveMaxPool2d", "return_indices", return_indices)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, *output_size), with `return_indices` a pair of that shape."""
        return functional.adaptive_max_pool2d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"{self.output_size}"
