# SPDX-License-Identifier: BSD-3-Clause
"""What losses share: reductions, operands that are broadcast, and indicators of conditions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._eager import depth_of_caller
from cnnkern.functional.elementwise import add, scaled, subtract
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import OPS, Shape, Symbol, apply, product

REDUCTIONS = ("none", "mean", "sum")


def reduction_of(
    function: str, reduction: Any, size_average: Any, reduce: Any, choices: tuple[str, ...] = REDUCTIONS
) -> str:
    """The reduction; size_average and reduce, its predecessors, win with a warning."""
    if size_average is None and reduce is None:
        return check.choice(function, "reduction", reduction, choices)
    warnings.warn(
        f"{function}: size_average and reduce are deprecated, use reduction",
        DeprecationWarning,
        stacklevel=depth_of_caller(),
    )
    average = size_average is None or check.boolean(function, "size_average", size_average)
    if not (reduce is None or check.boolean(function, "reduce", reduce)):
        return "none"
    return "mean" if average else "sum"


def total(value: Any, scale: float = 1.0) -> Any:
    """Sum of all elements, times scale, as an array without axes."""
    return reshape_to(sum_axes(value, (1,) * len(value.shape), scale), ())


def reduced(value: Any, reduction: str) -> Any:
    if reduction == "none":
        return value
    count = product(value.shape)
    return total(value, 1.0 if reduction == "sum" else 1.0 / count if count else float("nan"))


def sum_last(value: Any, scale: float = 1.0) -> Any:
    """Sum over the last axis, which goes, times scale."""
    return reshape_to(sum_axes(value, (*value.shape[:-1], 1), scale), value.shape[:-1])


def common_shape(function: str, **values: Any) -> Shape:
    """The shape that all arrays are broadcast to."""
    try:
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    except ValueError:
        found = ", ".join(f"{name}: {value.shape}" for name, value in values.items())
        raise ValueError(f"{function}: the shapes cannot be broadcast together ({found})") from None
    return check.elements(function, "the result", shape)


def broadcast_to(value: Any, shape: Shape) -> Any:
    """Repeat a value along axes of size 1 (and axes that it lacks)."""
    if value.shape == shape:
        return value
    value = reshape_to(value, (1,) * (len(shape) - len(value.shape)) + tuple(value.shape))
    one = np.ones((1,) * len(shape), value.dtype)
    return apply(OPS["expand"], (value, one), {"shape": shape})[0]


def above(value: Any, level: float) -> Any:
    """1 where value > level, else 0; without a gradient."""
    ones = np.ones(value.shape, value.dtype)
    return apply(OPS["relu_grad"], (ones, scaled(value, 1.0, -level)), {})[0]


def differs(value: Any, level: float) -> Any:
    """0 where value == level, else 1; without a gradient."""
    ones = np.ones(value.shape, value.dtype)
    return add(above(value, level), apply(OPS["relu_grad"], (ones, subtract(level, value)), {})[0])


def reshape_indices(indices: Any, shape: Shape) -> Any:
    """`reshape_to` of integers, which eager operations do not take."""
    return reshape_to(indices, shape) if isinstance(indices, Symbol) else indices.reshape(shape)


def one_hot_of(indices: Any, classes: int, dtype: Any, ignored: int = -1) -> Any:
    """(N, ...) -> (N, classes, ...): 1 at each index, nothing for an index that is `ignored`."""
    shape = (indices.shape[0], classes, *indices.shape[1:])
    attrs = {"reduction": "none", "ignore_index": ignored, "label_smoothing": 0.0, "log_probabilities": True}
    minus = np.full(indices.shape, -1.0, dtype)
    return apply(OPS["cross_entropy_grad"], (minus, np.zeros(shape, dtype), indices, None), attrs)[0]
