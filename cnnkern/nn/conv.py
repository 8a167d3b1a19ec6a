# SPDX-License-Identifier: BSD-3-Clause
"""Convolution layers."""

from __future__ import annotations

from typing import Any, Literal, get_args

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn import init
from cnnkern.nn.module import Module

Sizes = int | tuple[int, ...]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class _Convolution(Module):
    """What convolutions and transposed convolutions share: the sizes, the parameters, their text."""

    _axes: int

    def _prepare(
        self, in_channels: Any, out_channels: Any, kernel_size: Any, stride: Any, dilation: Any, groups: Any
    ) -> None:
        """Check and keep what the constructors have in common."""
        name = type(self).__name__
        self.in_channels = check.integer(name, "in_channels", in_channels, 1)
        self.out_channels = check.integer(name, "out_channels", out_channels, 1)
        self.groups = check.integer(name, "groups", groups, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.kernel_size = check.sizes(name, "kernel_size", kernel_size, self._axes, 1)
        self.stride = check.sizes(name, "stride", stride, self._axes, 1)
        self.dilation = check.sizes(name, "dilation", dilation, self._axes, 1)

    def _initialize(self, shape: tuple[int, ...], bias: Any, rng: init.Rng) -> None:
        fan_in = init.fans(shape)[0]
        source = init.generator(rng)
        self.register_parameter("weight", init.fan_in_uniform(shape, fan_in, source))
        wanted = check.boolean(type(self).__name__, "bias", bias)
        self.register_parameter("bias", init.fan_in_uniform((self.out_channels,), fan_in, source) if wanted else None)

    def _text(self, padding: Any, more: str) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += "" if padding == (0,) * self._axes else f", padding={padding!r}"
        text += "" if self.dilation == (1,) * self._axes else f", dilation={self.dilation}"
        text += "" if self.groups == 1 else f", groups={self.groups}"
        return text + more + ("" if self.bias is not None else ", bias=False")


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | Literal["same", "valid"] = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        rng: init.Rng = None,
    ) -> None:
        name = type(self).__name__
        self._prepare(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding_mode = check.choice(name, "padding_mode", padding_mode, get_args(PaddingMode))
        self.padding: tuple[int, ...] | str
        if isinstance(padding, str):
            self.padding = check.choice(name, "padding", padding, ("same", "valid"))
        else:
            self.padding = check.sizes(name, "padding", padding, self._axes, 0)
        if self.padding == "same" and any(step != 1 for step in self.stride):
            raise ValueError(f'{name}: padding="same" needs stride 1, found {self.stride}')
        self._initialize((self.out_channels, self.in_channels // self.groups, *self.kernel_size), bias, rng)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W'); N may be missing.

        H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
        """
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = functional.pad(input, self._border(), self.padding_mode), 0
        convolution = getattr(functional, f"conv{self._axes}d")
        return convolution(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _border(self) -> tuple[int, ...]:
        """The padding in the order of `pad`, the last axis first; "same" puts the odd pixel at the end."""
        if self.padding == "valid":
            return (0, 0) * self._axes
        if isinstance(self.padding, tuple):
            return tuple(amount for each in reversed(self.padding) for amount in (each, each))
        total = [step * (size - 1) for step, size in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple(amount for each in reversed(total) for amount in (each // 2, each - each // 2))

    def extra_repr(self) -> str:
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode!r}"
        return self._text(self.padding, mode)


class Conv1d(_Conv):
    """1-D convolution of (N, in_channels, L); weight: (out_channels, in_channels / groups, kernel). As `Conv2d`."""

    _axes = 1


class Conv2d(_Conv):
    """2-D convolution (cross-correlation, as in every CNN library).

    weight: (out_channels, in_channels / groups, kernel_h, kernel_w), bias: (out_channels,). `padding` is an int, two,
    "same" (stride 1) or "valid"; `padding_mode` says with what: zeros, or as in `functional.pad`. Initial values are
    PyTorch's: uniform within 1 / sqrt(fan_in); `rng` seeds them.

    Raises:
        ValueError: sizes that are not positive, groups that do not divide the channels.
    """

    _axes = 2


class Conv3d(_Conv):
    """3-D convolution of (N, in_channels, D, H, W); kernel_size, stride, ...: an int or three. Else as `Conv2d`."""

    _axes = 3


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        rng: init.Rng = None,
    ) -> None:
        name = type(self).__name__
        self._prepare(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding_mode = check.choice(name, "padding_mode", padding_mode, ("zeros",))
        self.padding = check.sizes(name, "padding", padding, self._axes, 0)
        self.output_padding = check.sizes(name, "output_padding", output_padding, self._axes, 0)
        self._initialize((self.in_channels, self.out_channels // self.groups, *self.kernel_size), bias, rng)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W'); N may be missing.

        H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1. output_size: (H', W') or the whole
        shape, in place of output_padding; ValueError for sizes that cannot be reached.
        """
        extra = self.output_padding if output_size is None else self._reaching(input, output_size)
        convolution = getattr(functional, f"conv_transpose{self._axes}d")
        return convolution(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _reaching(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """The output_padding that gives this output size."""
        name = type(self).__name__
        wanted = check.shape(name, "output_size", output_size)[-self._axes :]
        rows = zip(input.shape[-self._axes :], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = tuple((size - 1) * s - 2 * p + d * (k - 1) + 1 for size, k, s, p, d in rows)
        most = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=True))
        if len(wanted) != self._axes or any(not a <= b <= c for a, b, c in zip(least, wanted, most, strict=True)):
            raise ValueError(f"{name}: output_size must lie in {least} .. {most}, found {wanted}")
        return tuple(size - low for size, low in zip(wanted, least, strict=True))

    def extra_repr(self) -> str:
        extra = "" if self.output_padding == (0,) * self._axes else f", output_padding={self.output_padding}"
        return self._text(self.padding, extra)


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution of (N, in_channels, L), else as `ConvTranspose2d`."""

    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution (Dumoulin and Visin, 2016), the gradient of a convolution by its input.

    weight: (in_channels, out_channels / groups, kernel_h, kernel_w), bias: (out_channels,). output_padding makes the
    result larger at its end. Initial values are PyTorch's; `rng` seeds them.

    Raises:
        ValueError: sizes that are not positive, groups that do not divide the channels.
    """

    _axes = 2


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution of (N, in_channels, D, H, W), else as `ConvTranspose2d`."""

    _axes = 3
