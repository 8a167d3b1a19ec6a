# SPDX-License-Identifier: BSD-3-Clause
"""Convolution layers."""

from __future__ import annotations

from typing import Any, Literal, get_args

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn import init
from cnnkern.nn.module import Module

Pair = int | tuple[int, int]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class Conv2d(Module):
    """2-D convolution (cross-correlation, as in every CNN library).

    weight: (out_channels, in_channels / groups, kernel_h, kernel_w), bias: (out_channels,). `padding` is an int, two,
    "same" (stride 1) or "valid"; `padding_mode` says with what: zeros, or as in `functional.pad`. Initial values are
    PyTorch's: uniform within 1 / sqrt(fan_in); `rng` seeds them.

    Raises:
        ValueError: sizes that are not positive, groups that do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | Literal["same", "valid"] = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        rng: init.Rng = None,
    ) -> None:
        in_channels = check.integer("Conv2d", "in_channels", in_channels, 1)
        out_channels = check.integer("Conv2d", "out_channels", out_channels, 1)
        groups = check.integer("Conv2d", "groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.padding_mode = check.choice("Conv2d", "padding_mode", padding_mode, get_args(PaddingMode))
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = check.pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = check.pair("Conv2d", "stride", stride, 1)
        self.dilation = check.pair("Conv2d", "dilation", dilation, 1)
        self.padding: tuple[int, int] | str
        if isinstance(padding, str):
            self.padding = check.choice("Conv2d", "padding", padding, ("same", "valid"))
        else:
            self.padding = check.pair("Conv2d", "padding", padding, 0)
        if self.padding == "same" and self.stride != (1, 1):
            raise ValueError(f'Conv2d: padding="same" needs stride 1, found {self.stride}')
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        fan_in = init.fans(shape)[0]
        source = init.generator(rng)
        self.register_parameter("weight", init.fan_in_uniform(shape, fan_in, source))
        wanted = check.boolean("Conv2d", "bias", bias)
        self.register_parameter("bias", init.fan_in_uniform((out_channels,), fan_in, source) if wanted else None)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W').

        H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
        """
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = functional.pad(input, self._border(), self.padding_mode), (0, 0)
        return functional.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _border(self) -> tuple[int, int, int, int]:
        """The padding as (left, right, top, bottom); "same" puts the odd pixel at the end."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if isinstance(self.padding, tuple):
            height, width = self.padding
            return width, width, height, height
        height, width = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        return width // 2, width - width // 2, height // 2, height - height // 2

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += "" if self.padding == (0, 0) else f", padding={self.padding!r}"
        text += "" if self.dilation == (1, 1) else f", dilation={self.dilation}"
        text += "" if self.groups == 1 else f", groups={self.groups}"
        text += "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode!r}"
        return text + ("" if self.bias is not None else ", bias=False")
