# SPDX-License-Identifier: BSD-3-Clause
"""Maps read where a grid says (Jaderberg et al., 2015), and windows that begin where random samples say (Graham, 2014).

A grid (N, ..., 2 or 3) holds x, y (and z) of each place, -1 .. 1 across the map; one that is not a number counts as -1.
Along each axis a place is made of 1, 2 or 4 taps; those of all axes together are numbered by product().
"""

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ._array import Array, exact, real

_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
_FAR = 2.0**40  # farther away nothing changes but rounding


class _Axis(NamedTuple):
    at: Array  # (N, P, taps): the pixel, -1 beyond the map
    weight: Array
    slope: Array  # d weight / d coordinate


def _padded(u: Array, size: int, padding_mode: str, align_corners: bool) -> tuple[Array, Array]:
    """The coordinates u in pixels brought into the map, and their slopes."""
    slope = np.ones_like(u)
    if padding_mode == "zeros":
        return u, slope
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return np.zeros_like(u), np.zeros_like(u)
        flips, extra = np.divmod(np.abs(u - low), span)
        odd = flips % 2 == 1
        slope = np.where((u < low) != odd, -1.0, 1.0)
        u = np.where(odd, span - extra, extra) + low
    return np.clip(u, 0, size - 1), np.where((u > 0) & (u < size - 1), slope, 0.0)


def _cubic(t: Array) -> tuple[Array, Array]:
    """Weights of four pixels around t and their slopes: Keys (1981) with a = -0.75."""
    a = -0.75
    s, near = np.stack([t + 1, t, 1 - t, 2 - t], -1), np.array([False, True, True, False])
    weight = np.where(near, ((a + 2) * s - (a + 3)) * s * s + 1, ((a * s - 5 * a) * s + 8 * a) * s - 4 * a)
    slope = np.where(near, (3 * (a + 2) * s - 2 * (a + 3)) * s, (3 * a * s - 10 * a) * s + 8 * a)
    return weight, slope * np.array([1, 1, -1, -1])


def _axis(g: Array, size: int, mode: str, padding_mode: str, align_corners: bool) -> _Axis:
    g = np.where(np.isnan(g), -1.0, g)
    u = (g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2
    u = np.clip(u, -_FAR, _FAR)
    scale = (size - 1 if align_corners else size) / 2
    if mode == "bicubic":
        floor = np.floor(u)
        weight, slope = _cubic(u - floor)
        at, _ = _padded(floor[..., None] + np.arange(-1, 3), size, padding_mode, align_corners)
    else:
        u, along = _padded(u, size, padding_mode, align_corners)
        if mode == "nearest":
            at, weight, slope = np.rint(u)[..., None], np.ones((*u.shape, 1)), np.zeros((*u.shape, 1))
        else:
            floor = np.floor(u)
            at, t = np.stack([floor, floor + 1], -1), u - floor
            weight, slope = np.stack([1 - t, t], -1), np.stack([-along, along], -1)
    at = np.where((at >= 0) & (at < size), at, -1)
    return _Axis(at.astype(np.int64), weight, slope * scale)


class _Tap(NamedTuple):
    place: Array  # (N, P): in a map seen as one row; -1 beyond it
    weight: Array
    slope: Array  # (N, P, 2 or 3): of the weight, along the grid's coordinates


def _taps(grid: Array, size: tuple[int, ...], attrs: dict[str, Any]) -> list[_Tap]:
    """All taps of all places of maps of `size`."""
    rank = len(size)
    points = real(grid).reshape(len(grid), int(np.prod(grid.shape[1:-1])), rank)
    axes = [_axis(points[..., rank - 1 - i], pixels, **attrs) for i, pixels in enumerate(size)]
    taps = []
    for numbers in product(range(_TAPS[attrs["mode"]]), repeat=rank):
        at = [axis.at[..., k] for axis, k in zip(axes, numbers, strict=True)]
        weights = [axis.weight[..., k] for axis, k in zip(axes, numbers, strict=True)]
        place = np.zeros_like(at[0])
        for pixel, pixels in zip(at, size, strict=True):
            place = place * pixels + pixel
        inside = np.all([pixel >= 0 for pixel in at], axis=0)
        slopes = [
            np.prod([axes[j].slope[..., numbers[j]] if j == i else weights[j] for j in range(rank)], axis=0)
            for i in reversed(range(rank))
        ]
        taps.append(_Tap(np.where(inside, place, -1), np.prod(weights, axis=0), np.stack(slopes, -1)))
    return taps


def _read(x: Array, place: Array) -> Array:
    """x (N, C, pixels) at the places (N, P) -> (N, C, P), 0 where there is none."""
    at = np.broadcast_to(np.maximum(place, 0)[:, None], (*x.shape[:2], place.shape[1]))
    return np.where(place[:, None] >= 0, np.take_along_axis(x, at, 2), 0)


def _rows(x: Array, axes: int) -> Array:
    """(N, C, ...) -> (N, C, pixels)."""
    return x.reshape(*x.shape[:2], int(np.prod(x.shape[2 : 2 + axes])))


def grid_sample(x: Array, grid: Array, **attrs: Any) -> Array:
    """x (N, C, H, W), grid (N, OH, OW, 2) -> y (N, C, OH, OW), or both with a depth."""
    rows, rank = _rows(real(x), x.ndim - 2), x.ndim - 2
    y: Array = np.zeros((*x.shape[:2], int(np.prod(grid.shape[1:-1]))))
    for tap in _taps(grid, x.shape[2:], attrs):
        y += _read(rows, tap.place) * tap.weight[:, None]
    return y.reshape(*x.shape[:2], *grid.shape[1 : 1 + rank])


def grid_sample_grad_input(dy: Array, grid: Array, *, input_shape: tuple[int, ...], **attrs: Any) -> Array:
    """dy (N, C, OH, OW), grid (N, OH, OW, 2) -> dx (N, C, H, W)."""
    rows = _rows(real(dy), dy.ndim - 2)
    dx: Array = np.zeros((*input_shape[:2], int(np.prod(input_shape[2:]))))
    for tap in _taps(grid, input_shape[2:], attrs):
        for n in range(len(dx)):
            inside = tap.place[n] >= 0
            np.add.at(dx[n].T, tap.place[n, inside], (rows[n] * tap.weight[n]).T[inside])
    return dx.reshape(input_shape)


def grid_sample_grad_grid(dy: Array, x: Array, grid: Array, **attrs: Any) -> Array:
    """dy (N, C, OH, OW), x (N, C, H, W), grid (N, OH, OW, 2) -> dgrid, of the grid's shape."""
    rows, gradient = _rows(real(x), x.ndim - 2), _rows(real(dy), dy.ndim - 2)
    change: Array = np.zeros((*gradient.shape, grid.shape[-1]))  # of y along the grid's coordinates
    if attrs["mode"] != "nearest":
        for tap in _taps(grid, x.shape[2:], attrs):
            change += _read(rows, tap.place)[..., None] * tap.slope[:, None]
        change *= gradient[..., None]
    return np.asarray(change.sum(1).reshape(grid.shape))


def _starts(sample: Any, size: int, kernel: int, count: int) -> Array:
    """Where the windows of one axis begin, counted in the sample's dtype; beyond 0 .. 1 as the last one."""
    last = size - kernel
    if count <= 1 or not 0 <= sample <= 1:
        return np.full(count, last)
    step = sample.dtype.type(last) / sample.dtype.type(count - 1)
    begin = ((np.arange(count).astype(sample.dtype) + sample) * step).astype(np.int64) - int(sample * step)
    begin[-1] = last
    return np.asarray(np.clip(begin, 0, last))


def fractional_max_pool(
    x: Array, samples: Array, *, kernel: tuple[int, ...], output_size: tuple[int, ...]
) -> tuple[Array, Array]:
    """x (N, C, H, W), samples (N, C, 2: x, y) -> y (N, C, *output_size) and places h * W + w (int32).

    With a depth: samples (N, C, 3: z, y, x).
    """
    x, samples = exact(x), real(samples) if samples.dtype.kind != "f" else samples
    size = x.shape[2:]
    y = np.zeros((*x.shape[:2], *output_size), x.dtype)
    indices = np.zeros(y.shape, np.int32)
    for n, c in product(range(x.shape[0]), range(x.shape[1])):
        order = samples[n, c, ::-1] if len(size) == 2 else samples[n, c]
        starts = [_starts(s, *row) for s, *row in zip(order, size, kernel, output_size, strict=True)]
        for out in product(*map(range, output_size)):
            begin = [rows[i] for rows, i in zip(starts, out, strict=True)]
            window = x[n, c][tuple(slice(b, b + k) for b, k in zip(begin, kernel, strict=True))]
            missing = np.flatnonzero(np.isnan(window)) if window.dtype.kind == "f" else np.empty(0, int)
            best = missing[-1] if len(missing) else np.argmax(window)
            at = np.unravel_index(best, window.shape)
            y[n, c][out] = window[at]
            indices[n, c][out] = np.ravel_multi_index([b + a for b, a in zip(begin, at, strict=True)], size)
    return y, indices


def fractional_max_pool_grad(dy: Array, indices: Array, *, input_shape: tuple[int, ...]) -> Array:
    """dy, indices (N, C, OH, OW) -> dx (N, C, H, W): the sum of dy over the windows whose maximum a pixel is."""
    dy = exact(dy)
    maps = input_shape[0] * input_shape[1]
    dx = np.zeros((maps, int(np.prod(input_shape[2:]))), dy.dtype)
    values, places = (array.reshape(maps, int(np.prod(dy.shape[2:]))) for array in (dy, indices))
    np.add.at(dx, (np.arange(maps)[:, None], places), values)
    return dx.reshape(input_shape)
