# SPDX-License-Identifier: BSD-3-Clause
"""Operations that only move elements."""

import numpy as np

from ._array import Array, exact

_slice = slice  # the function below takes the name of the operation


def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """The elements of x in C order, as `shape`."""
    return exact(x).reshape(shape)


def concat(*x: Array, axis: int) -> Array:
    """Arrays of equal shape but for `axis`, one behind the other."""
    return np.concatenate([exact(part) for part in x], axis)


def slice(x: Array, *, axis: int, start: int, stop: int) -> Array:
    """Positions start .. stop - 1 of `axis`."""
    return np.ascontiguousarray(exact(x)[(_slice(None),) * (axis % x.ndim) + (_slice(start, stop),)])


def pad(x: Array, *, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    """`value` before and after each axis; a negative number of positions crops.

    x (n0, n1, ...), padding ((before, after) per axis) -> y (before + n0 + after, ...)
    """
    x = exact(x)
    for axis, (before, after) in enumerate(padding):
        size = x.shape[axis]
        x = slice(x, axis=axis, start=max(-before, 0), stop=size + min(after, 0))
    grow = [(max(before, 0), max(after, 0)) for before, after in padding]
    return np.pad(x, grow, constant_values=np.asarray(value, x.dtype))


def permute(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Axis i of the result is axis axes[i] of x."""
    return np.ascontiguousarray(exact(x).transpose(axes))


def resample(x: Array, start: Array, index: Array, weight: Array, *_: Array, axis: int) -> Array:
    """Along `axis` y[i] = sum over t in start[i] .. start[i + 1] - 1 of weight[t] x[index[t]].

    start (out + 1), index (taps), weight (taps); what follows, the transposed table, belongs to the gradient.
    """
    x, factors = exact(x), exact(weight)
    taps = np.moveaxis(x, axis, 0)[index] * factors.reshape(-1, *[1] * (x.ndim - 1))
    sums = np.zeros((len(start) - 1, *taps.shape[1:]), taps.dtype)
    np.add.at(sums, np.repeat(np.arange(len(start) - 1), np.diff(start)), taps)
    return np.ascontiguousarray(np.moveaxis(sums, 0, axis))
