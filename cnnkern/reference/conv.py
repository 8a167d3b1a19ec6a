# SPDX-License-Identifier: BSD-3-Clause
"""Convolution (cross-correlation, as in every CNN library) of maps (N, C, H, W) with weights (O, C / groups, R, S).

    y[n, o, i, j] = bias[o] + sum over c, r, s of w[o, c, r, s] * x[n, c, i * stride + r * dilation - padding, ...]

One tap (r, s) of the kernel touches, for all output pixels at once, a strided window of the padded input. Forward and
both gradients are loops over the taps; within a tap, a matrix product over channels does the rest.
"""

from collections.abc import Iterator

import numpy as np

from ._array import Array, Padding, Pair, exact
from .activation import activate

_Window = tuple[slice, slice]


def _output_size(size: int, kernel: int, padding: Pair, stride: int, dilation: int) -> int:
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def _taps(kernel: Pair, output: Pair, stride: Pair, dilation: Pair) -> Iterator[tuple[int, int, _Window]]:
    """Yields r, s and the window of the padded input that meets tap (r, s): one pixel per output pixel."""
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            top, left = r * dilation[0], s * dilation[1]
            rows = slice(top, top + (output[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (output[1] - 1) * stride[1] + 1, stride[1])
            yield r, s, (rows, columns)


def _pad(x: Array, padding: Padding) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *padding))


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, H, W) -> (N, groups, C / groups, H * W)"""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


@np.errstate(invalid="ignore", over="ignore")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> Array:
    """x (N, C, H, W), weight (O, C / groups, R, S), bias (O), residual like y -> y (N, O, OH, OW).

    `residual` is added before the activation.
    """
    x, w = _pad(exact(x), padding), exact(weight)
    n, o, kernel = x.shape[0], w.shape[0], (w.shape[2], w.shape[3])
    no_padding = (0, 0)
    output = (
        _output_size(x.shape[2], kernel[0], no_padding, stride[0], dilation[0]),
        _output_size(x.shape[3], kernel[1], no_padding, stride[1], dilation[1]),
    )
    w = w.reshape(groups, o // groups, w.shape[1], *kernel)
    y = np.zeros((n, groups, o // groups, output[0] * output[1]), np.result_type(x, w))
    for r, s, (rows, columns) in _taps(kernel, output, stride, dilation):
        y += w[:, :, :, r, s] @ _grouped(x[:, :, rows, columns], groups)
    y = y.reshape(n, o, *output)
    if bias is not None:
        y = y + exact(bias)[:, None, None]
    if residual is not None:
        y = y + exact(residual)
    return activate(y, activation, slope, low, high)


@np.errstate(invalid="ignore", over="ignore")
def conv2d_grad_input(
    dy: Array,
    weight: Array,
    *,
    input_shape: tuple[int, ...],
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """dy (N, O, OH, OW), weight (O, C / groups, R, S) -> dx (N, C, H, W) = `input_shape`.

    Every output pixel hands its gradient back to the pixels that it was made from.
    """
    dy, w = exact(dy), exact(weight)
    n, c, h, width = input_shape
    o, kernel, output = w.shape[0], (w.shape[2], w.shape[3]), (dy.shape[2], dy.shape[3])
    w = w.reshape(groups, o // groups, w.shape[1], *kernel)
    dy = _grouped(dy, groups)
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c, top + h + bottom, left + width + right), np.result_type(dy, w))
    for r, s, (rows, columns) in _taps(kernel, output, stride, dilation):
        contribution = w[:, :, :, r, s].transpose(0, 2, 1) @ dy
        dx[:, :, rows, columns] += contribution.reshape(n, c, *output)
    return np.ascontiguousarray(dx[:, :, top : top + h, left : left + width])


@np.errstate(invalid="ignore", over="ignore")
def conv2d_grad_weight(
    x: Array,
    dy: Array,
    *,
    weight_shape: tuple[int, ...],
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """x (N, C, H, W), dy (N, O, OH, OW) -> dw (O, C / groups, R, S) = `weight_shape`.

    The gradient of a tap is the product of dy with the input pixels that the tap met, summed over pixels and images.
    """
    x, dy = _pad(exact(x), padding), exact(dy)
    o, c, *kernel = weight_shape
    output = (dy.shape[2], dy.shape[3])
    dy = _grouped(dy, groups)
    dw = np.zeros((groups, o // groups, c, *kernel), np.result_type(x, dy))
    for r, s, (rows, columns) in _taps((kernel[0], kernel[1]), output, stride, dilation):
        patch = _grouped(x[:, :, rows, columns], groups)
        dw[:, :, :, r, s] = (dy @ patch.swapaxes(-1, -2)).sum(axis=0)
    return dw.reshape(weight_shape)
