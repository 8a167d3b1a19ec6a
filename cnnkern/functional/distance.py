# SPDX-License-Identifier: BSD-3-Clause
"""Distances and similarities of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._reduction import above, broadcast_to, common_shape
from cnnkern.functional.activation import clamped
from cnnkern.functional.adaptive_pool import adaptive_max_pool2d
from cnnkern.functional.elementwise import abs as absolute
from cnnkern.functional.elementwise import divide, multiply, negative, pow, scaled, sqrt, square, subtract
from cnnkern.functional.resample import gathered
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import OPS, apply, override_gradient, product

_TINY = 1e-30  # a norm of 0 has gradient 0, not 0 / 0


def _root(total: Any) -> Any:
    """sqrt, whose derivative at 0 is finite: what it is multiplied with is 0."""
    root = sqrt(total)
    return override_gradient(root, total, lambda: divide(0.5, clamped(root, _TINY, math.inf)))


def _largest(value: Any) -> Any:
    """Maximum over the last axis, which stays with size 1."""
    shape = value.shape
    if not product(shape):
        return reshape_to(sum_axes(value, (*shape[:-1], 1)), (*shape[:-1], 1))
    rows = reshape_to(value, (product(shape[:-1]), 1, 1, shape[-1]))
    return reshape_to(adaptive_max_pool2d(rows, 1), (*shape[:-1], 1))


def norm_last(value: Any, p: float) -> Any:
    """(sum |x|^p)^(1 / p) over the last axis, which stays with size 1; p = 0 counts, p = inf is the maximum."""
    shape = (*value.shape[:-1], 1)
    if p == 2.0:
        return _root(sum_axes(square(value), shape))
    size = absolute(value)
    if p == 1.0:
        return sum_axes(size, shape)
    if p == 0.0:
        return sum_axes(above(size, 0.0), shape)
    if math.isinf(p):
        return _largest(size) if p > 0 else negative(_largest(negative(size)))
    powers = sum_axes(pow(size, p), shape)
    root = pow(powers, 1.0 / p)
    return override_gradient(root, powers, lambda: scaled(divide(root, clamped(powers, _TINY, math.inf)), 1.0 / p))


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """Norm of order p of x1 - x2 + eps over the last axis.

    x1, x2: (..., D) of shapes that can be broadcast; p: any number, also inf. Returns (...), or (..., 1) with keepdim.
    """
    function = "pairwise_distance"
    check.floating(function, x1=x1, x2=x2)
    order, small = check.number(function, "p", p), check.number(function, "eps", eps)
    shape = common_shape(function, x1=x1, x2=x2)
    if not shape:
        raise ValueError(f"{function}: x1 and x2 must have an axis, found shapes () and ()")
    if math.isinf(order) and not shape[-1]:
        raise ValueError(f"{function}: vectors without elements have no norm of order {order}")
    distance = norm_last(scaled(subtract(x1, x2), 1.0, small), order)
    return distance if check.boolean(function, "keepdim", keepdim) else reshape_to(distance, shape[:-1])


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) over axis `dim`, which goes; shapes are broadcast."""
    function = "cosine_similarity"
    check.floating(function, x1=x1, x2=x2)
    small = check.number(function, "eps", eps)
    shape = common_shape(function, x1=x1, x2=x2)
    axis = check.axis(function, "dim", dim, len(shape))
    if not shape:
        shape, x1, x2 = (1,), reshape_to(x1, (1,)), reshape_to(x2, (1,))
    one, other = broadcast_to(x1, shape), broadcast_to(x2, shape)
    kept = (*shape[:axis], 1, *shape[axis + 1 :])

    def unit(value: Any) -> Any:
        norm = _root(sum_axes(square(value), kept))
        return divide(value, clamped_below(norm, small))

    similarity = sum_axes(multiply(unit(one), unit(other)), kept)
    return reshape_to(similarity, (*shape[:axis], *shape[axis + 1 :]))


def clamped_below(value: Any, low: float) -> Any:
    """max(value, low) whose gradient passes everywhere."""
    return override_gradient(clamped(value, low, math.inf), value, lambda: np.ones(value.shape, value.dtype))


def pdist(input: Any, p: float = 2.0) -> Any:
    """Distances of order p between all pairs of the N rows of (N, D): (N (N - 1) / 2,), pair (0, 1) first, (0, 2) next.

    p: at least 0, also inf.
    """
    check.floating("pdist", input=input)
    if len(input.shape) != 2:
        raise ValueError(f"pdist: input must have shape (N, D), found {input.shape}")
    order = check.number("pdist", "p", p)
    if not order >= 0:
        raise ValueError(f"pdist: p must not be negative, found {order}")
    rows = input.shape[0]
    first, second = np.triu_indices(rows, 1)
    check.elements("pdist", "the differences", (len(first), input.shape[1]))
    if not len(first):
        nothing = apply(OPS["slice"], (input,), {"axis": 0, "start": 0, "stop": 0})[0]
        return reshape_to(sum_axes(nothing, (0, 1)), (0,))
    difference = subtract(gathered(input, 0, first), gathered(input, 0, second))
    return reshape_to(norm_last(difference, order), (len(first),))
