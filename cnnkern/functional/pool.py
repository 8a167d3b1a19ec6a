# SPDX-License-Identifier: BSD-3-Clause
"""Pooling over windows of feature maps of one, two and three axes, and the gradients."""

from __future__ import annotations

from typing import Any

from cnnkern.functional._pooling import avg_pool, avg_pool_grad, max_pool, max_pool_grad


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, L) or (C, L), as `max_pool2d`; indices count all pixels."""
    return max_pool(1, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, H, W) or (C, H, W); NaN is greater than all.

    stride defaults to kernel_size; ceil_mode lets the last windows hang over the edge. With return_indices also returns
    where each maximum lies, h * W + w in its plane (int64; while tracing an int32 Symbol): of equals the first, of NaN
    the last.
    Raises TypeError for wrong types, ValueError for windows that do not fit.
    """
    return max_pool(2, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, D, H, W) or (C, D, H, W), as `max_pool2d`; indices count all pixels."""
    return max_pool(3, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Mean of each window of (N, C, L) or (C, L), as `avg_pool2d`."""
    return avg_pool(1, input, (kernel_size, stride, padding, ceil_mode), count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean of each window of (N, C, H, W) or (C, H, W); stride and ceil_mode as for `max_pool2d`.

    Zeros of the padding count as elements if count_include_pad; divisor_override divides the sum instead.
    """
    return avg_pool(2, input, (kernel_size, stride, padding, ceil_mode), count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean of each window of (N, C, D, H, W) or (C, D, H, W), as `avg_pool2d`."""
    return avg_pool(3, input, (kernel_size, stride, padding, ceil_mode), count_include_pad, divisor_override)


def max_pool1d_grad(
    grad_output: Any,
    indices: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Gradient of `max_pool1d`; arguments as of `max_pool2d_grad`."""
    return max_pool_grad(1, grad_output, indices, input_size, (kernel_size, stride, padding, dilation, ceil_mode))


def max_pool2d_grad(
    grad_output: Any,
    indices: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Gradient of `max_pool2d`: each element of grad_output goes to its place in `indices`; several there add up.

    grad_output and indices have the shape of max_pool2d's result, input_size is the shape of its input; the windows are
    given as there. Returns an array of shape input_size.
    """
    return max_pool_grad(2, grad_output, indices, input_size, (kernel_size, stride, padding, dilation, ceil_mode))


def max_pool3d_grad(
    grad_output: Any,
    indices: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Gradient of `max_pool3d`; arguments as of `max_pool2d_grad`."""
    return max_pool_grad(3, grad_output, indices, input_size, (kernel_size, stride, padding, dilation, ceil_mode))


def avg_pool1d_grad(
    grad_output: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Gradient of `avg_pool1d`: grad_output has the shape of its result, input_size is the shape of its input."""
    window = (kernel_size, stride, padding, ceil_mode)
    return avg_pool_grad(1, grad_output, input_size, window, count_include_pad, None)


def avg_pool2d_grad(
    grad_output: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Gradient of `avg_pool2d`: grad_output has the shape of its result, input_size is the shape of its input."""
    window = (kernel_size, stride, padding, ceil_mode)
    return avg_pool_grad(2, grad_output, input_size, window, count_include_pad, divisor_override)


def avg_pool3d_grad(
    grad_output: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Gradient of `avg_pool3d`: grad_output has the shape of its result, input_size is the shape of its input."""
    window = (kernel_size, stride, padding, ceil_mode)
    return avg_pool_grad(3, grad_output, input_size, window, count_include_pad, divisor_override)
