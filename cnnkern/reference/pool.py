# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of maps (N, C, H, W) over windows, forward and backward.

The shapes are those of two spatial axes; the functions take one and three as well, and have a name for each. An axis is
described by where each window starts and which positions it visits; the k-th position of all windows is one index
vector, with a mask of those that exist. So fixed and adaptive windows, padding, dilation and windows that ceil mode
lets hang over the edge are one loop over positions.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ._array import Array, Padding, Pair, exact, real

_Sizes = tuple[int, ...]
_Axes = Sequence["_Axis"]


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


def _positions(axes: _Axes) -> Iterator[tuple[tuple[Any, ...], Array]]:
    """Yields for each tap of the windows the index of its positions, (N, C, OH, OW), and the mask of those that exist.

    Positions that do not exist are 0, so that they may be used as an index.
    """
    for tap in product(*(range(axis.position.shape[1]) for axis in axes)):
        inside = [axis.inside[:, k] for axis, k in zip(axes, tap, strict=True)]
        position = [axis.position[:, k] for axis, k in zip(axes, tap, strict=True)]
        index = np.ix_(*map(np.where, inside, position, (0,) * len(axes)))
        yield (slice(None), slice(None), *index), reduce(np.logical_and.outer, inside)


def _max(x: Array, axes: _Axes) -> tuple[Array, Array]:
    """The first maximum of each window and its place h * W + w; NaN is greater than all, of several the last counts.

    A window without any position (dilation can step over a small input) gives the lowest value and place -1.
    """
    x = exact(x)
    shape = (*x.shape[:2], *(len(axis.position) for axis in axes))
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full(shape, lowest, x.dtype)
    indices = np.full(shape, -1, np.int32)
    if not x.size:
        return y, indices
    for index, inside in _positions(axes):
        value = x[index]
        place: Any = 0
        for size, position in zip(x.shape[2:], index[2:], strict=True):
            place = place * size + position
        greater = (value > y) | np.isnan(value) | (indices < 0)
        y = np.where(inside & greater, value, y)
        indices = np.where(inside & greater, place.astype(np.int32), indices)
    return y, indices


def _max_grad(dy: Array, indices: Array, input_shape: _Sizes) -> Array:
    """Each window's gradient goes to the place of its maximum; where windows share it, gradients add."""
    dy = exact(dy)
    n, c, *size = input_shape
    dx = np.zeros((n, c, int(np.prod(size))), dy.dtype)
    image, channel = np.indices((n, c))
    place = indices.reshape(n, c, int(np.prod(dy.shape[2:])))
    gradient = np.where(place >= 0, dy.reshape(place.shape), 0)
    np.add.at(dx, (image[:, :, None], channel[:, :, None], place), gradient)
    return dx.reshape(input_shape)


def _sum(x: Array, axes: _Axes) -> Array:
    total: Array = np.zeros((*x.shape[:2], *(len(axis.position) for axis in axes)), x.dtype)
    if x.size:
        for index, inside in _positions(axes):
            total += np.where(inside, x[index], 0)
    return total


def _spread(dy: Array, axes: _Axes, input_shape: _Sizes) -> Array:
    """The transpose of `_sum`: every position of a window receives the window's value."""
    dx = np.zeros(input_shape, dy.dtype)
    if dx.size:
        for index, inside in _positions(axes):
            np.add.at(dx, index, np.where(inside, dy, 0))
    return dx


def _fixed_axes(
    input_size: _Sizes, output_size: _Sizes, kernel: _Sizes, stride: _Sizes, padding: Padding, dilation: _Sizes | None
) -> list[_Axis]:
    steps = dilation or (1,) * len(kernel)
    rows = zip(input_size, output_size, kernel, stride, padding, steps, strict=True)
    return [_fixed(*row) for row in rows]


def _adaptive_axes(input_size: _Sizes, output_size: _Sizes) -> list[_Axis]:
    return [_adaptive(size, windows) for size, windows in zip(input_size, output_size, strict=True)]


def _elements(axes: _Axes, count_include_pad: bool, divisor: int) -> Array:
    """What each window's sum is divided by, (OH, OW)."""
    counts = [axis.counted if count_include_pad else axis.inside.sum(axis=1) for axis in axes]
    if divisor:
        return np.full([len(count) for count in counts], float(divisor))
    return real(reduce(np.multiply.outer, counts))


def max_pool2d(
    x: Array, *, kernel: _Sizes, stride: _Sizes, padding: Padding, dilation: _Sizes | None = None, output_size: _Sizes
) -> tuple[Array, Array]:
    """x (N, C, H, W) -> y (N, C, OH, OW) and indices (int32, h * W + w of the first maximum in its input plane).

    Padding never wins; NaN does.
    """
    return _max(x, _fixed_axes(x.shape[2:], output_size, kernel, stride, padding, dilation))


def max_pool2d_grad(
    dy: Array,
    indices: Array,
    *,
    input_shape: _Sizes,
    kernel: _Sizes,
    stride: _Sizes,
    padding: Padding,
    dilation: _Sizes | None = None,
) -> Array:
    """dy (N, C, OH, OW), indices of the forward pass -> dx (N, C, H, W). The indices alone decide."""
    return _max_grad(dy, indices, input_shape)


@np.errstate(invalid="ignore", divide="ignore")
def avg_pool2d(
    x: Array,
    *,
    kernel: _Sizes,
    stride: _Sizes,
    padding: Padding,
    output_size: _Sizes,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    """x (N, C, H, W) -> y (N, C, OH, OW): the sum of each window over `divisor`, or, if 0, its number of elements.

    Zeros of the padding are elements if `count_include_pad`; what ceil mode hangs over beyond the padding never is.
    """
    axes = _fixed_axes(x.shape[2:], output_size, kernel, stride, padding, None)
    return _sum(exact(x), axes) / _elements(axes, count_include_pad, divisor)


@np.errstate(invalid="ignore", divide="ignore")
def avg_pool2d_grad(
    dy: Array,
    *,
    input_shape: _Sizes,
    kernel: _Sizes,
    stride: _Sizes,
    padding: Padding,
    output_size: _Sizes | None = None,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    """dy (N, C, OH, OW) -> dx (N, C, H, W). `output_size`, where given, is that of dy."""
    axes = _fixed_axes(input_shape[2:], output_size or dy.shape[2:], kernel, stride, padding, None)
    return _spread(real(dy) / _elements(axes, count_include_pad, divisor), axes, input_shape)


def adaptive_max_pool2d(x: Array, *, output_size: _Sizes) -> tuple[Array, Array]:
    """x (N, C, H, W) -> y (N, C, *output_size) and indices, as of `max_pool2d`."""
    return _max(x, _adaptive_axes(x.shape[2:], output_size))


def adaptive_max_pool2d_grad(dy: Array, indices: Array, *, input_shape: _Sizes) -> Array:
    """dy (N, C, OH, OW), indices of the forward pass -> dx (N, C, H, W)."""
    return _max_grad(dy, indices, input_shape)


def adaptive_avg_pool2d(x: Array, *, output_size: _Sizes) -> Array:
    """x (N, C, H, W) -> y (N, C, *output_size): the mean of each window."""
    axes = _adaptive_axes(x.shape[2:], output_size)
    return _sum(exact(x), axes) / _elements(axes, True, 0)


def adaptive_avg_pool2d_grad(dy: Array, *, input_shape: _Sizes) -> Array:
    """dy (N, C, OH, OW) -> dx (N, C, H, W)."""
    axes = _adaptive_axes(input_shape[2:], dy.shape[2:])
    return _spread(real(dy) / _elements(axes, True, 0), axes, input_shape)


def max_unpool(x: Array, indices: Array, *, output_size: _Sizes) -> Array:
    """x (N, C, OH, OW) -> y (N, C, *output_size): x at the places h * W + w of the indices (the last one of equal
    places), 0 elsewhere."""
    x = exact(x)
    n, c = x.shape[:2]
    y = np.zeros((n * c, int(np.prod(output_size))), x.dtype)
    values, places = (array.reshape(n * c, int(np.prod(x.shape[2:]))) for array in (x, indices))
    for i in range(n * c):
        y[i, places[i]] = values[i]
    return y.reshape(n, c, *output_size)


def max_unpool_grad(dy: Array, indices: Array) -> Array:
    """dy (N, C, H, W) -> dx (N, C, OH, OW), the shape of the indices."""
    dy = exact(dy)
    n, c = dy.shape[:2]
    places = indices.reshape(n, c, int(np.prod(indices.shape[2:])))
    flat = dy.reshape(n, c, int(np.prod(dy.shape[2:])))
    return np.take_along_axis(flat, places.astype(np.int64), axis=2).reshape(indices.shape)


max_pool1d = max_pool3d = max_pool2d
max_pool1d_grad = max_pool3d_grad = max_pool2d_grad
avg_pool1d = avg_pool3d = avg_pool2d
avg_pool1d_grad = avg_pool3d_grad = avg_pool2d_grad
adaptive_max_pool1d = adaptive_max_pool3d = adaptive_max_pool2d
adaptive_max_pool1d_grad = adaptive_max_pool3d_grad = adaptive_max_pool2d_grad
adaptive_avg_pool1d = adaptive_avg_pool3d = adaptive_avg_pool2d
adaptive_avg_pool1d_grad = adaptive_avg_pool3d_grad = adaptive_avg_pool2d_grad
