# SPDX-License-Identifier: BSD-3-Clause
"""Edges of images by Sobel's filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.activation import clamped
from cnnkern.functional.conv import conv2d
from cnnkern.functional.elementwise import sqrt, square
from cnnkern.functional.padding import pad
from cnnkern.functional.shape import add_batch, drop_batch, reshape_to, sum_axes

SOBEL = np.array([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]], np.float32)


def sobel(input: Any, padding: int = 1, padding_mode: str = "replicate") -> Any:
    """The magnitude of the gradient of each channel, sqrt((Kx * A)^2 + (Ky * A)^2) (Sobel and Feldman, 1968).

    Kx = [1, 2, 1]^T [1, 0, -1], Ky its transpose. (N, C, H, W) or (C, H, W); the size is kept with a border of
    `padding` = 1 pixel (0: two rows and columns fewer), filled as by `pad` in `padding_mode`. Where there is no edge
    at all the result is about 1e-19, not 0, so that it has a derivative.
    """
    function = "sobel"
    check.floating(function, input=input)
    n, c, h, w = check.maps(function, "input", input)
    border = check.integer(function, "padding", padding, 0, 2**15)
    check.choice(function, "padding_mode", padding_mode, ("constant", "replicate", "reflect", "circular"))
    x = input if len(input.shape) == 4 else add_batch(input)
    if border:
        x = pad(x, (border,) * 4, padding_mode)
    if min(x.shape[2:]) < 3:
        raise ValueError(f"{function}: input of {h} x {w} pixels and padding {border} leave no room for 3 x 3 filters")
    rows, columns = x.shape[2:]
    single = reshape_to(x, (n * c, 1, rows, columns))
    gradient = conv2d(single, SOBEL.reshape(2, 1, 3, 3).astype(x.dtype))
    total = sum_axes(square(gradient), (n * c, 1, rows - 2, columns - 2))
    y = sqrt(clamped(total, float(np.finfo(np.float32).tiny), float("inf")))
    y = reshape_to(y, (n, c, rows - 2, columns - 2))
    return y if len(input.shape) == 4 else drop_batch(y)
