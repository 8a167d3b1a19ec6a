# SPDX-License-Identifier: BSD-3-Clause
"""Vectors of norm 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.activation import clamped
from cnnkern.functional.adaptive_pool import adaptive_max_pool2d
from cnnkern.functional.elementwise import abs as absolute
from cnnkern.functional.elementwise import divide, negative, scaled, sqrt, square
from cnnkern.functional.elementwise import pow as power
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import Shape, product

_INFINITE = float("inf")


def _axes(dim: Any, rank: int) -> tuple[int, ...]:
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple(check.axis("normalize", "dim", each, rank) for each in dims)
    if len(set(axes)) != len(axes):
        raise ValueError(f"normalize: dim names an axis twice: {tuple(dims)}")
    return axes or tuple(range(rank))


def _largest(x: Any, axes: tuple[int, ...], kept: Shape) -> Any:
    """The maximum over axes, one after the other."""
    for axis in axes:
        shape = x.shape
        outer, inner = product(shape[:axis]), product(shape[axis + 1 :])
        x = adaptive_max_pool2d(reshape_to(x, (1, outer, shape[axis], inner)), (1, inner))
        x = reshape_to(x, (*shape[:axis], 1, *shape[axis + 1 :]))
    return reshape_to(x, kept)


def _norm(x: Any, p: float, axes: tuple[int, ...], kept: Shape, eps: float) -> Any:
    """The p-norm over axes, at least eps. The clamp stands before the root, whose derivative at 0 is infinite."""
    if p == 2.0:
        return sqrt(clamped(sum_axes(square(x), kept), eps * eps, _INFINITE))
    size = absolute(x)
    if p == _INFINITE:
        total = _largest(size, axes, kept)
    elif p == -_INFINITE:
        total = negative(_largest(negative(size), axes, kept))
    elif p == 0.0:
        tiny = float(np.finfo(x.dtype).tiny)
        total = sum_axes(clamped(scaled(size, 1.0 / tiny), 0.0, 1.0), kept)
    elif p == 1.0:
        total = sum_axes(size, kept)
    else:
        total = power(sum_axes(power(size, p), kept), 1.0 / p)
    return clamped(total, eps, _INFINITE)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """x / max(norm of x, eps), with the p-norm over axis (or axes) `dim`.

    p: any number, infinity too; out: an array that receives the result. Raises TypeError for wrong types, ValueError
    for an axis that is not there.
    """
    function = "normalize"
    dtype = check.floating(function, input=input)
    exponent, least = check.number(function, "p", p), check.number(function, "eps", eps)
    shape = input.shape
    axes = _axes(dim, len(shape))
    if exponent in (_INFINITE, -_INFINITE) and any(shape[axis] == 0 for axis in axes):
        raise ValueError(f"{function}: there is no largest of no elements, found shape {shape} and dim {dim}")
    if out is not None:
        check.out(function, out, shape, dtype, input)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    y = divide(input, _norm(input, exponent, axes, kept, least)) if product(shape) else input
    if out is None:
        return y
    out[...] = y
    return out
