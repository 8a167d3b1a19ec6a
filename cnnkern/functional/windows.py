# SPDX-License-Identifier: BSD-3-Clause
"""Windows of images as columns, and the sum that undoes it: gathers along H and W, and a change of axes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.permute import permuted
from cnnkern.functional.resample import Table, resampled, table
from cnnkern.functional.shape import add_batch, drop_batch, reshape_to


class _Windows(NamedTuple):
    """Along one axis: its size, the windows' parameters and their number."""

    size: int
    kernel: int
    dilation: int
    padding: int
    stride: int
    windows: int


@lru_cache(256)
def _window_table(axis: _Windows, dtype: Any) -> Table:
    """Place (k, i) is element k of window i; nothing where that lies in the padding."""
    taps = np.arange(axis.kernel)[:, None] * axis.dilation + np.arange(axis.windows) * axis.stride - axis.padding
    inside = (taps >= 0) & (taps < axis.size)
    index = taps[inside]
    return table(inside.ravel().astype(np.int64), index, np.ones(len(index)), axis.size, dtype)


def _axes(
    function: str, size: tuple[int, int], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[_Windows, _Windows]:
    kernel = check.pair(function, "kernel_size", kernel_size, 1)
    dilations = check.pair(function, "dilation", dilation, 1)
    pads = check.pair(function, "padding", padding, 0)
    strides = check.pair(function, "stride", stride, 1)
    rows = []
    for n, k, d, p, s in zip(size, kernel, dilations, pads, strides, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1) // s + 1
        if count < 1:
            raise ValueError(
                f"{function}: a window of {d * (k - 1) + 1} does not fit into {n} pixels with padding {p} "
                f"(sizes {size}, kernel_size {kernel}, dilation {dilations})"
            )
        rows.append(_Windows(n, k, d, p, s, count))
    return rows[0], rows[1]


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """(N, C, H, W) or (C, H, W) -> (N, C * kernel_h * kernel_w, L): every window as a column, L windows (im2col).

    All but the input: one integer or two (height, width). Raises ValueError where no window fits.
    """
    function = "unfold"
    check.floating(function, input=input)
    n, c, h, w = check.maps(function, "input", input)
    rows, columns = _axes(function, (h, w), kernel_size, dilation, padding, stride)
    x = input if len(input.shape) == 4 else add_batch(input)
    x = resampled(x, 2, _window_table(rows, x.dtype))
    x = resampled(x, 3, _window_table(columns, x.dtype))
    x = reshape_to(x, (n * c, rows.kernel, rows.windows, columns.kernel, columns.windows))
    x = permuted(function, x, (0, 1, 3, 2, 4))
    x = reshape_to(x, (n, c * rows.kernel * columns.kernel, rows.windows * columns.windows))
    return x if len(input.shape) == 4 else drop_batch(x)


def _transposed(forth: Table) -> Table:
    return Table(*forth[3:], *forth[:3])


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """(N, C * kernel_h * kernel_w, L) or without N -> (N, C, *output_size): overlapping columns add up (col2im)."""
    function = "fold"
    check.floating(function, input=input)
    shape = input.shape
    size = check.pair(function, "output_size", output_size, 1, check.LARGEST)
    rows, columns = _axes(function, size, kernel_size, dilation, padding, stride)
    taps, windows = rows.kernel * columns.kernel, rows.windows * columns.windows
    if len(shape) not in (2, 3) or shape[-2] == 0 or shape[-2] % taps or shape[-1] != windows:
        raise ValueError(f"{function}: input must have shape (N, C * {taps}, {windows}), found {shape}")
    n, c = (shape[0] if len(shape) == 3 else 1), shape[-2] // taps
    check.elements(function, "the result", (n, c, *size))
    x = reshape_to(input, (n * c, rows.kernel, columns.kernel, rows.windows, columns.windows))
    x = permuted(function, x, (0, 1, 3, 2, 4))
    x = reshape_to(x, (n, c, rows.kernel * rows.windows, columns.kernel * columns.windows))
    x = resampled(x, 3, _transposed(_window_table(columns, x.dtype)))
    x = resampled(x, 2, _transposed(_window_table(rows, x.dtype)))
    return x if len(shape) == 3 else drop_batch(x)
