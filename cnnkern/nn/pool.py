# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers. (N, C, H, W) -> (N, C, H', W'), and the same over one and three axes; N may be missing."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.conv import Sizes
from cnnkern.nn.module import Module


class _Pool(Module):
    """What the pools with windows share."""

    _axes: int

    def _prepare(self, kernel_size: Any, stride: Any, padding: Any) -> None:
        name = type(self).__name__
        self.kernel_size = check.sizes(name, "kernel_size", kernel_size, self._axes, 1)
        self.stride = self.kernel_size if stride is None else check.sizes(name, "stride", stride, self._axes, 1)
        self.padding = check.sizes(name, "padding", padding, self._axes, 0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Extremum(_Pool):
    _kind: str

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        name = type(self).__name__
        self._prepare(kernel_size, stride, padding)
        self.dilation = check.sizes(name, "dilation", dilation, self._axes, 1)
        self.return_indices = check.boolean(name, "return_indices", return_indices)
        self.ceil_mode = check.boolean(name, "ceil_mode", ceil_mode)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W'), with `return_indices` a pair of that shape."""
        pool = getattr(functional, f"{self._kind}_pool{self._axes}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_Extremum):
    """Maximum over windows of (N, C, L), else as `MaxPool2d`."""

    _kind, _axes = "max", 1


class MaxPool2d(_Extremum):
    """Maximum over windows; NaN wins. `stride=None`: the kernel size; `return_indices` adds the maxima's h * W + w."""

    _kind, _axes = "max", 2


class MaxPool3d(_Extremum):
    """Maximum over windows of (N, C, D, H, W), else as `MaxPool2d`."""

    _kind, _axes = "max", 3


class MinPool1d(_Extremum):
    """Minimum over windows of (N, C, L), else as `MaxPool2d`."""

    _kind, _axes = "min", 1


class MinPool2d(_Extremum):
    """Minimum over windows of (N, C, H, W), else as `MaxPool2d`; NaN wins here too."""

    _kind, _axes = "min", 2


class MinPool3d(_Extremum):
    """Minimum over windows of (N, C, D, H, W), else as `MaxPool2d`."""

    _kind, _axes = "min", 3


class _Average(_Pool):
    def _keep(self, ceil_mode: Any, count_include_pad: Any) -> None:
        name = type(self).__name__
        self.ceil_mode = check.boolean(name, "ceil_mode", ceil_mode)
        self.count_include_pad = check.boolean(name, "count_include_pad", count_include_pad)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        pool = getattr(functional, f"avg_pool{self._axes}d")
        return pool(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool1d(_Average):
    """Mean over windows of (N, C, L); `count_include_pad` lets padding count in the divisor."""

    _axes = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._prepare(kernel_size, stride, padding)
        self._keep(ceil_mode, count_include_pad)


class AvgPool2d(_Average):
    """Mean over windows; `count_include_pad` lets padding count in the divisor, `divisor_override` replaces it."""

    _axes = 2

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        name = type(self).__name__
        self._prepare(kernel_size, stride, padding)
        self._keep(ceil_mode, count_include_pad)
        if divisor_override is not None:
            divisor_override = check.integer(name, "divisor_override", divisor_override)
            if divisor_override == 0:
                raise ValueError(f"{name}: divisor_override must not be 0")
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        pool = getattr(functional, f"avg_pool{self._axes}d")
        window = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        return pool(input, *window, self.divisor_override)


class AvgPool3d(AvgPool2d):
    """Mean over windows of (N, C, D, H, W), else as `AvgPool2d`."""

    _axes = 3


class _LPPool(_Pool):
    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        name = type(self).__name__
        self.norm_type = check.number(name, "norm_type", norm_type)
        self._prepare(kernel_size, stride, 0)
        self.ceil_mode = check.boolean(name, "ceil_mode", ceil_mode)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        pool = getattr(functional, f"lp_pool{self._axes}d")
        return pool(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}"


class LPPool1d(_LPPool):
    """p-norm over windows of (N, C, L), as `functional.lp_pool1d`."""

    _axes = 1


class LPPool2d(_LPPool):
    """p-norm over windows of (N, C, H, W), as `functional.lp_pool2d`."""

    _axes = 2


class LPPool3d(_LPPool):
    """p-norm over windows of (N, C, D, H, W), as `functional.lp_pool3d`."""

    _axes = 3


class _MaxUnpool(_Pool):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        self._prepare(kernel_size, stride, padding)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        """(N, C, H', W') and the indices of the maxima -> (N, C, H, W): the maxima in their places, 0 elsewhere."""
        unpool = getattr(functional, f"max_unpool{self._axes}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of `MaxPool1d`, as `MaxUnpool2d`."""

    _axes = 1


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of `MaxPool2d` with these windows; takes its result and its indices."""

    _axes = 2


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of `MaxPool3d`, as `MaxUnpool2d`."""

    _axes = 3


class _FractionalMaximum(Module):
    _axes: int

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        name = type(self).__name__
        self.kernel_size = check.sizes(name, "kernel_size", kernel_size, self._axes, 1)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name}: either output_size or output_ratio must be given")
        self.output_size = None if output_size is None else check.sizes(name, "output_size", output_size, self._axes, 1)
        self.output_ratio = None if output_ratio is None else self._ratios(output_ratio)
        self.return_indices = check.boolean(name, "return_indices", return_indices)
        self._random_samples = _random_samples

    def _ratios(self, value: Any) -> tuple[float, ...]:
        name = type(self).__name__
        ratios = value if isinstance(value, (tuple, list)) else (value,) * self._axes
        found = tuple(check.number(name, "output_ratio", ratio) for ratio in ratios)
        if len(found) != self._axes or not all(0 < ratio < 1 for ratio in found):
            raise ValueError(f"{name}: output_ratio must be in 0 .. 1, one or {self._axes}, found {value}")
        return found

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, *output_size), and the indices with return_indices."""
        pool = getattr(functional, f"fractional_max_pool{self._axes}d")
        size = self.output_size, self.output_ratio
        return pool(input, self.kernel_size, *size, self.return_indices, self._random_samples)

    def extra_repr(self) -> str:
        size = f"output_ratio={self.output_ratio}" if self.output_size is None else f"output_size={self.output_size}"
        return f"kernel_size={self.kernel_size}, {size}"


class FractionalMaxPool2d(_FractionalMaximum):
    """Maximum over windows in random places (Graham, 2014), as `functional.fractional_max_pool2d`."""

    _axes = 2


class FractionalMaxPool3d(_FractionalMaximum):
    """Maximum over windows of (N, C, D, H, W) in random places, as `functional.fractional_max_pool3d`."""

    _axes = 3


class _AdaptiveAverage(Module):
    _axes: int

    def __init__(self, output_size: Any) -> None:
        self.output_size = _adaptive_size(type(self).__name__, output_size, self._axes)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, *output_size)."""
        return getattr(functional, f"adaptive_avg_pool{self._axes}d")(input, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


def _adaptive_size(name: str, output_size: Any, axes: int) -> tuple[int | None, ...]:
    """An integer for each axis, or None, which keeps the input's size."""
    if isinstance(output_size, (tuple, list)) and len(output_size) == axes:
        return tuple(None if size is None else check.integer(name, "output_size", size, 1) for size in output_size)
    return check.sizes(name, "output_size", output_size, axes, 1)


class AdaptiveAvgPool1d(_AdaptiveAverage):
    """Mean over windows of (N, C, L) chosen to give `output_size`."""

    _axes = 1


class AdaptiveAvgPool2d(_AdaptiveAverage):
    """Mean over windows chosen to give `output_size` (None keeps the input's); 1 is global average pooling."""

    _axes = 2


class AdaptiveAvgPool3d(_AdaptiveAverage):
    """Mean over windows of (N, C, D, H, W) chosen to give `output_size`."""

    _axes = 3


class _AdaptiveMaximum(Module):
    _axes: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        name = type(self).__name__
        self.output_size = _adaptive_size(name, output_size, self._axes)
        self.return_indices = check.boolean(name, "return_indices", return_indices)

    def forward(self, input: Any) -> Any:
        """(N, C, H, W) -> (N, C, *output_size), with `return_indices` a pair of that shape."""
        pool = getattr(functional, f"adaptive_max_pool{self._axes}d")
        return pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaximum):
    """Maximum over windows of (N, C, L) chosen to give `output_size`."""

    _axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaximum):
    """Maximum over windows chosen to give `output_size`."""

    _axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaximum):
    """Maximum over windows of (N, C, D, H, W) chosen to give `output_size`."""

    _axes = 3
