# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of maps (N, C, H, W) over windows, forward and backward.

An axis is described by where each window starts and which positions it visits; the k-th position of all windows is one
index vector, with a mask of those that exist. So fixed and adaptive windows, padding, dilation and windows that ceil
mode lets hang over the edge are one loop over positions.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ._array import Array, Padding, Pair, exact, real


class _Axis(NamedTuple):
    position: Array  # (windows, taps): the input position that tap k of a window visits
    inside: Array  # (windows, taps): whether that position is part of the window and of the input
    counted: Array  # (windows,): positions of the window inside the input with its padding


def _fixed(size: int, windows: int, kernel: int, stride: int, padding: Pair, dilation: int = 1) -> _Axis:
    position = np.arange(windows)[:, None] * stride - padding[0] + np.arange(kernel) * dilation
    counted = (position < size + padding[1]).sum(axis=1)
    return _Axis(position, (position >= 0) & (position < size), counted)


def _adaptive(size: int, windows: int) -> _Axis:
    """Window i is [floor(i * size / windows), ceil((i + 1) * size / windows)): neighbours may overlap by one."""
    i = np.arange(windows)
    start, stop = i * size // windows, -(-(i + 1) * size // windows)
    taps = int((stop - start).max(initial=0))
    position = start[:, None] + np.arange(taps)
    return _Axis(position, position < stop[:, None], stop - start)


def _positions(vertical: _Axis, horizontal: _Axis) -> Iterator[tuple[Array, Array, Array]]:
    """Yields for each tap of the windows: rows (OH, 1), columns (OW), and the mask (OH, OW) of those that exist.

    Rows and columns that do not exist are 0, so that they may be used as an index.
    """
    for r in range(vertical.position.shape[1]):
        for s in range(horizontal.position.shape[1]):
            row_inside, column_inside = vertical.inside[:, r, None], horizontal.inside[:, s]
            rows = np.where(row_inside, vertical.position[:, r, None], 0)
            columns = np.where(column_inside, horizontal.position[:, s], 0)
            yield rows, columns, row_inside & column_inside


def _max(x: Array, vertical: _Axis, horizontal: _Axis) -> tuple[Array, Array]:
    """The first maximum of each window and its place h * W + w; NaN is greater than all.

    A window without any position (dilation can step over a small input) gives the lowest value and place -1.
    """
    x = exact(x)
    n, c, _, width = x.shape
    shape = (n, c, len(vertical.position), len(horizontal.position))
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full(shape, lowest, x.dtype)
    indices = np.full(shape, -1, np.int32)
    if not x.size:
        return y, indices
    for rows, columns, inside in _positions(vertical, horizontal):
        value = x[:, :, rows, columns]
        greater = (value > y) | (np.isnan(value) & ~np.isnan(y)) | (indices < 0)
        y = np.where(inside & greater, value, y)
        indices = np.where(inside & greater, (rows * width + columns).astype(np.int32), indices)
    return y, indices


def _max_grad(dy: Array, indices: Array, input_shape: tuple[int, ...]) -> Array:
    """Each window's gradient goes to the place of its maximum; where windows share it, gradients add."""
    dy = exact(dy)
    n, c, h, w = input_shape
    dx = np.zeros((n, c, h * w), dy.dtype)
    image, channel = np.indices((n, c))
    place = indices.reshape(n, c, dy.shape[2] * dy.shape[3])
    gradient = np.where(place >= 0, dy.reshape(place.shape), 0)
    np.add.at(dx, (image[:, :, None], channel[:, :, None], place), gradient)
    return dx.reshape(input_shape)


def _sum(x: Array, vertical: _Axis, horizontal: _Axis) -> Array:
    total: Array = np.zeros((*x.shape[:2], len(vertical.position), len(horizontal.position)), x.dtype)
    if x.size:
        for rows, columns, inside in _positions(vertical, horizontal):
            total += np.where(inside, x[:, :, rows, columns], 0)
    return total


def _spread(dy: Array, vertical: _Axis, horizontal: _Axis, input_shape: tuple[int, ...]) -> Array:
    """The transpose of `_sum`: every position of a window receives the window's value."""
    dx = np.zeros(input_shape, dy.dtype)
    if dx.size:
        for rows, columns, inside in _positions(vertical, horizontal):
            index: Any = (slice(None), slice(None), rows, columns)
            np.add.at(dx, index, np.where(inside, dy, 0))
    return dx


def _axes(
    input_size: Pair, output_size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> tuple[_Axis, _Axis]:
    return (
        _fixed(input_size[0], output_size[0], kernel[0], stride[0], padding[0], dilation[0]),
        _fixed(input_size[1], output_size[1], kernel[1], stride[1], padding[1], dilation[1]),
    )


def _elements(vertical: _Axis, horizontal: _Axis, count_include_pad: bool, divisor: int) -> Array:
    """What each window's sum is divided by, (OH, OW)."""
    if divisor:
        return np.full((len(vertical.counted), len(horizontal.counted)), float(divisor))
    if count_include_pad:
        return real(np.multiply.outer(vertical.counted, horizontal.counted))
    return real(np.multiply.outer(vertical.inside.sum(axis=1), horizontal.inside.sum(axis=1)))


def max_pool2d(
    x: Array, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1), output_size: Pair
) -> tuple[Array, Array]:
    """x (N, C, H, W) -> y (N, C, OH, OW) and indices (int32, h * W + w of the first maximum in its input plane).

    Padding never wins; NaN does.
    """
    return _max(x, *_axes((x.shape[2], x.shape[3]), output_size, kernel, stride, padding, dilation))


def max_pool2d_grad(
    dy: Array,
    indices: Array,
    *,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
) -> Array:
    """dy (N, C, OH, OW), indices of the forward pass -> dx (N, C, H, W). The indices alone decide."""
    return _max_grad(dy, indices, input_shape)


@np.errstate(invalid="ignore", divide="ignore")
def avg_pool2d(
    x: Array,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    output_size: Pair,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    """x (N, C, H, W) -> y (N, C, OH, OW): the sum of each window over `divisor`, or, if 0, its number of elements.

    Zeros of the padding are elements if `count_include_pad`; what ceil mode hangs over beyond the padding never is.
    """
    axes = _axes((x.shape[2], x.shape[3]), output_size, kernel, stride, padding)
    return _sum(exact(x), *axes) / _elements(*axes, count_include_pad, divisor)


@np.errstate(invalid="ignore", divide="ignore")
def avg_pool2d_grad(
    dy: Array,
    *,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    output_size: Pair | None = None,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    """dy (N, C, OH, OW) -> dx (N, C, H, W). `output_size`, where given, is that of dy."""
    size = output_size or (dy.shape[2], dy.shape[3])
    axes = _axes((input_shape[2], input_shape[3]), size, kernel, stride, padding)
    return _spread(real(dy) / _elements(*axes, count_include_pad, divisor), *axes, input_shape)


def adaptive_max_pool2d(x: Array, *, output_size: Pair) -> tuple[Array, Array]:
    """x (N, C, H, W) -> y (N, C, *output_size) and indices, as of `max_pool2d`."""
    return _max(x, _adaptive(x.shape[2], output_size[0]), _adaptive(x.shape[3], output_size[1]))


def adaptive_max_pool2d_grad(dy: Array, indices: Array, *, input_shape: tuple[int, ...]) -> Array:
    """dy (N, C, OH, OW), indices of the forward pass -> dx (N, C, H, W)."""
    return _max_grad(dy, indices, input_shape)


def adaptive_avg_pool2d(x: Array, *, output_size: Pair) -> Array:
    """x (N, C, H, W) -> y (N, C, *output_size): the mean of each window."""
    axes = _adaptive(x.shape[2], output_size[0]), _adaptive(x.shape[3], output_size[1])
    return _sum(exact(x), *axes) / _elements(*axes, True, 0)


def adaptive_avg_pool2d_grad(dy: Array, *, input_shape: tuple[int, ...]) -> Array:
    """dy (N, C, OH, OW) -> dx (N, C, H, W)."""
    axes = _adaptive(input_shape[2], dy.shape[2]), _adaptive(input_shape[3], dy.shape[3])
    return _spread(real(dy) / _elements(*axes, True, 0), *axes, input_shape)
