# SPDX-License-Identifier: BSD-3-Clause
"""Convolution (cross-correlation, as in every CNN library) of maps (N, C, H, W) with weights (O, C / groups, R, S).

    y[n, o, i, j] = bias[o] + sum over c, r, s of w[o, c, r, s] * x[n, c, i * stride + r * dilation - padding, ...]

The shapes are those of two spatial axes; the functions take one and three as well, and have a name for each.
One tap of the kernel touches, for all output pixels at once, a strided window of the padded input. Forward and both
gradients are loops over the taps; within a tap, a matrix product over channels does the rest.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ._array import Array, Padding, exact
from .activation import activate, relu_grad

_Sizes = tuple[int, ...]


def _taps(kernel: _Sizes, output: _Sizes, stride: _Sizes, dilation: _Sizes) -> Iterator[tuple[Any, Any]]:
    """Yields the index of each tap and of the pixels of the padded input that meet it: one per output pixel."""
    for tap in product(*map(range, kernel)):
        window = [
            slice(r * d, r * d + (count - 1) * s + 1, s)
            for r, d, count, s in zip(tap, dilation, output, stride, strict=True)
        ]
        yield (..., *tap), (..., *window)


def _geometry(
    axes: int, stride: _Sizes | None, padding: Padding | None, dilation: _Sizes | None
) -> tuple[_Sizes, Padding, _Sizes]:
    return stride or (1,) * axes, padding or ((0, 0),) * axes, dilation or (1,) * axes


def _pad(x: Array, padding: Padding) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *padding))


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, H, W) -> (N, groups, C / groups, H * W)"""
    n, c = x.shape[:2]
    return x.reshape(n, groups, c // groups, int(np.prod(x.shape[2:])))


@np.errstate(invalid="ignore", over="ignore")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    stride: _Sizes | None = None,
    padding: Padding | None = None,
    dilation: _Sizes | None = None,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> Array:
    """x (N, C, H, W), weight (O, C / groups, R, S), bias (O), residual like y -> y (N, O, OH, OW).

    `residual` is added before the activation.
    """
    stride, padding, dilation = _geometry(x.ndim - 2, stride, padding, dilation)
    x, w = _pad(exact(x), padding), exact(weight)
    n, o, kernel = x.shape[0], w.shape[0], w.shape[2:]
    rows = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    output = tuple((size - d * (r - 1) - 1) // s + 1 for size, r, s, d in rows)
    w = w.reshape(groups, o // groups, w.shape[1], *kernel)
    y = np.zeros((n, groups, o // groups, int(np.prod(output))), np.result_type(x, w))
    for tap, window in _taps(kernel, output, stride, dilation):
        y += w[tap] @ _grouped(x[window], groups)
    y = y.reshape(n, o, *output)
    if bias is not None:
        y = y + exact(bias).reshape(-1, *(1,) * len(kernel))
    if residual is not None:
        y = y + exact(residual)
    return activate(y, activation, slope, low, high)


@np.errstate(invalid="ignore", over="ignore")
def conv2d_scaled(
    x: Array,
    weight: Array,
    bias: Array | None,
    residual: Array | None,
    scale: Array,
    shift: Array | None = None,
    centre: Array | None = None,
    *,
    input_activation: str = "none",
    **attrs: Any,
) -> Array:
    """conv2d of input_activation((x - centre) * scale + shift).

    scale: (C) or (N, C); shift, centre: (C); the rest as for conv2d.
    """
    x = exact(x)
    column = (1,) * (x.ndim - 2)
    scale = exact(scale)
    per_image = scale.shape[0] if scale.ndim > 1 else 1
    if centre is not None:
        x = x - exact(centre).reshape(-1, *column)
    x = x * scale.reshape(per_image, -1, *column)
    if shift is not None:
        x = x + exact(shift).reshape(-1, *column)
    return conv2d(activate(x, input_activation, 0, 0, 0), weight, bias, residual, **attrs)


@np.errstate(invalid="ignore", over="ignore")
def conv2d_grad_input(
    dy: Array,
    weight: Array,
    residual: Array | None = None,
    gate: Array | None = None,
    *,
    input_shape: _Sizes,
    stride: _Sizes | None = None,
    padding: Padding | None = None,
    dilation: _Sizes | None = None,
    groups: int = 1,
) -> Array:
    """dy (N, O, OH, OW), weight (O, C / groups, R, S) -> dx (N, C, H, W) = `input_shape`.

    Every output pixel hands its gradient back to the pixels that it was made from. A residual (like dx) is added: what
    the gradient was without this convolution; then dx is 0 where a gate (like dx) is not positive, the gradient of a
    ReLU before it.
    """
    stride, padding, dilation = _geometry(dy.ndim - 2, stride, padding, dilation)
    dy, w = exact(dy), exact(weight)
    (n, c, *size), o, kernel, output = input_shape, w.shape[0], w.shape[2:], dy.shape[2:]
    w = w.reshape(groups, o // groups, w.shape[1], *kernel)
    dy = _grouped(dy, groups)
    padded = [before + count + after for (before, after), count in zip(padding, size, strict=True)]
    dx = np.zeros((n, c, *padded), np.result_type(dy, w))
    for tap, window in _taps(kernel, output, stride, dilation):
        dx[window] += (w[tap].transpose(0, 2, 1) @ dy).reshape(n, c, *output)
    pixels = [slice(before, before + count) for (before, _), count in zip(padding, size, strict=True)]
    inside: Any = (..., *pixels)
    dx = np.ascontiguousarray(dx[inside])
    if residual is not None:
        dx = dx + exact(residual)
    return dx if gate is None else relu_grad(dx, gate)


@np.errstate(invalid="ignore", over="ignore")
def conv2d_grad_weight(
    x: Array,
    dy: Array,
    *,
    weight_shape: _Sizes,
    stride: _Sizes | None = None,
    padding: Padding | None = None,
    dilation: _Sizes | None = None,
    groups: int = 1,
) -> Array:
    """x (N, C, H, W), dy (N, O, OH, OW) -> dw (O, C / groups, R, S) = `weight_shape`.

    The gradient of a tap is the product of dy with the input pixels that the tap met, summed over pixels and images.
    """
    stride, padding, dilation = _geometry(x.ndim - 2, stride, padding, dilation)
    x, dy = _pad(exact(x), padding), exact(dy)
    o, c, *kernel = weight_shape
    output = dy.shape[2:]
    dy = _grouped(dy, groups)
    dw = np.zeros((groups, o // groups, c, *kernel), np.result_type(x, dy))
    for tap, window in _taps(tuple(kernel), output, stride, dilation):
        dw[tap] = (dy @ _grouped(x[window], groups).swapaxes(-1, -2)).sum(axis=0)
    return dw.reshape(weight_shape)


conv1d = conv3d = conv2d
conv1d_grad_input = conv3d_grad_input = conv2d_grad_input
conv1d_grad_weight = conv3d_grad_weight = conv2d_grad_weight
