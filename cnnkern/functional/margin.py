# SPDX-License-Identifier: BSD-3-Clause
"""Losses that ask for a margin: between a score and its label, two scores, the classes, or the distances of a triplet.

reduction is "mean", "sum" or "none" (formerly size_average and reduce). Targets of 1 and -1 are floating-point arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._reduction import (
    REDUCTIONS,
    above,
    common_shape,
    differs,
    one_hot_of,
    reduced,
    reduction_of,
    reshape_indices,
    sum_last,
)
from cnnkern.functional.activation import clamped, relu
from cnnkern.functional.dense import product_of
from cnnkern.functional.distance import pairwise_distance
from cnnkern.functional.elementwise import add, divide, minimum, multiply, negative, scaled, sqrt, square, subtract
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.functional.smooth import logsigmoid
from cnnkern.graph import Shape


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """max(0, 1 - target * input) for targets -1 and 1 (Cortes and Vapnik, 1995); both arrays of one shape."""
    mode = check.choice("hinge_loss", "reduction", reduction, REDUCTIONS)
    check.floating("hinge_loss", input=input, target=target)
    check.same_shape("hinge_loss", "target", target, input.shape)
    return reduced(relu(subtract(1.0, multiply(target, input))), mode)


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """log(1 + exp(-target * input)) for targets 1 and -1; shapes are broadcast. Does not overflow."""
    function = "soft_margin_loss"
    check.floating(function, input=input, target=target)
    mode = reduction_of(function, reduction, size_average, reduce)
    common_shape(function, input=input, target=target)
    return reduced(negative(logsigmoid(multiply(target, input))), mode)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """A distance `input` where target is 1, max(0, margin - input) where it is -1, their sum elsewhere.

    Shapes are broadcast.
    """
    function = "hinge_embedding_loss"
    check.floating(function, input=input, target=target)
    mode = reduction_of(function, reduction, size_average, reduce)
    width = check.number(function, "margin", margin)
    common_shape(function, input=input, target=target)
    near = multiply(input, differs(target, -1.0))
    return reduced(add(near, multiply(relu(subtract(width, input)), differs(target, 1.0))), mode)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, margin - target (input1 - input2)): input1 is to be larger where target is 1, smaller where it is -1.

    Three arrays of one number of axes; shapes are broadcast.
    """
    function = "margin_ranking_loss"
    check.floating(function, input1=input1, input2=input2, target=target)
    mode = reduction_of(function, reduction, size_average, reduce)
    width = check.number(function, "margin", margin)
    _same_rank(function, input1=input1, input2=input2, target=target)
    common_shape(function, input1=input1, input2=input2, target=target)
    return reduced(relu(subtract(width, multiply(target, subtract(input1, input2)))), mode)


def _same_rank(function: str, **values: Any) -> None:
    if len({len(value.shape) for value in values.values()}) > 1:
        found = ", ".join(f"{name}: {value.shape}" for name, value in values.items())
        raise ValueError(f"{function}: all arrays must have the same number of axes, found {found}")


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1, else 0.

    input1, input2: (N, D) with target (N,), or (D,) with target (). Returns () or, for "none", target's shape.
    """
    function = "cosine_embedding_loss"
    check.floating(function, input1=input1, input2=input2, target=target)
    mode = reduction_of(function, reduction, size_average, reduce)
    level = check.number(function, "margin", margin)
    rank = len(target.shape)
    if rank > 1:
        raise ValueError(f"{function}: target must have shape (N,) or (), found {target.shape}")
    if len(input1.shape) != rank + 1 or len(input2.shape) != rank + 1:
        raise ValueError(
            f"{function}: inputs must have {rank + 1} axes for a target of shape {target.shape}, "
            f"found {input1.shape} and {input2.shape}"
        )
    common_shape(function, input1=input1, input2=input2)
    one, other = (scaled(_sum_of_squares(value), 1.0, 1e-12) for value in (input1, input2))
    cosine = divide(sum_last(multiply(input1, input2)), sqrt(multiply(one, other)))
    common_shape(function, cosine=cosine, target=target)
    alike = multiply(subtract(1.0, cosine), subtract(1.0, differs(target, 1.0)))
    unlike = multiply(relu(scaled(cosine, 1.0, -level)), subtract(1.0, differs(target, -1.0)))
    return reduced(add(alike, unlike), mode)


def _sum_of_squares(value: Any) -> Any:
    return sum_last(square(value))


def _rows(function: str, input: Any) -> tuple[Any, int, int]:
    """Scores (N, C) or (C,) as (N, C), with N and C."""
    shape: Shape = input.shape
    if len(shape) not in (1, 2) or shape[-1] == 0:
        raise ValueError(f"{function}: input must have shape (N, C) or (C,) with classes, found {shape}")
    rows = shape[0] if len(shape) == 2 else 1
    return reshape_to(input, (rows, shape[-1])), rows, shape[-1]


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Mean over the C classes of weight[t] max(0, margin - x[t] + x[c])^p, the target's own class t counting 0.

    input: (N, C) or (C,); target: class indices (N,) or (); p: 1 or 2; weight: (C,) (Crammer and Singer, 2001).
    """
    function = "multi_margin_loss"
    check.floating(function, ("weight",), input=input, weight=weight)
    mode = reduction_of(function, reduction, size_average, reduce)
    power, width = check.number(function, "p", p), check.number(function, "margin", margin)
    if power not in (1.0, 2.0):
        raise ValueError(f"{function}: p must be 1 or 2, found {p}")
    x, rows, classes = _rows(function, input)
    check.vector(function, "weight", weight, classes)
    indices = check.integers(function, "target", target, 0, classes - 1)
    if indices.shape != input.shape[:-1] and (len(input.shape) == 2 or indices.shape != (1,)):
        raise ValueError(f"{function}: target must have shape {input.shape[:-1]}, found {indices.shape}")
    own = one_hot_of(reshape_indices(indices, (rows,)), classes, x.dtype)
    score = reshape_to(sum_last(multiply(x, own)), (rows, 1))
    gap = multiply(relu(scaled(subtract(x, score), 1.0, width)), subtract(1.0, own))
    loss = sum_last(gap if power == 1.0 else square(gap), 1.0 / classes)
    if weight is not None:
        loss = multiply(loss, sum_last(multiply(own, weight)))
    return reduced(reshape_to(loss, indices.shape) if mode == "none" else loss, mode)


def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Sum over labels t and other classes c of max(0, 1 - x[t] + x[c]) / C.

    input: (N, C) or (C,); target: integers of that shape, the labels of each row up to the first -1. Returns () or, for
    "none", (N,).
    """
    function = "multilabel_margin_loss"
    check.floating(function, input=input)
    mode = reduction_of(function, reduction, size_average, reduce)
    x, rows, classes = _rows(function, input)
    indices = check.integers(function, "target", target, -1, classes - 1)
    if indices.shape != () or input.shape != (1,):  # one score has room for one number
        check.same_shape(function, "target", indices, input.shape)
    named = one_hot_of(reshape_indices(indices, (rows, classes)), classes, x.dtype)  # (N, class, position)
    ended = subtract(1.0, reshape_to(sum_axes(named, (rows, 1, classes)), (rows, classes)))
    before = product_of(ended, np.triu(np.ones((classes, classes), x.dtype)))  # ends up to a position
    counts = sum_last(multiply(named, reshape_to(subtract(1.0, above(before, 0.0)), (rows, 1, classes))))
    others = subtract(1.0, clamped(counts, 0.0, 1.0))
    gap = relu(scaled(subtract(reshape_to(x, (rows, 1, classes)), reshape_to(x, (rows, classes, 1))), 1.0, 1.0))
    each = multiply(sum_last(multiply(gap, reshape_to(others, (rows, 1, classes)))), counts)
    loss = sum_last(each, 1.0 / classes)
    return reduced(reshape_to(loss, input.shape[:-1]), mode)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Mean over the last axis of -(t log s(x) + (1 - t) log s(-x)), s the sigmoid; weight multiplies its terms.

    input: (..., C); target of that shape, 0 and 1. Returns () or, for "none", (...).
    """
    function = "multilabel_soft_margin_loss"
    check.floating(function, ("weight",), input=input, target=target, weight=weight)
    mode = reduction_of(function, reduction, size_average, reduce)
    shape = common_shape(function, input=input, target=target)
    if not shape:
        raise ValueError(f"{function}: input must have an axis of classes, found shape ()")
    positive = multiply(target, logsigmoid(input))
    loss = add(positive, multiply(subtract(1.0, target), logsigmoid(negative(input))))
    if weight is not None:
        shape = common_shape(function, input=loss, weight=weight)
        loss = multiply(loss, weight)
    classes = shape[-1]
    return reduced(sum_last(loss, -1.0 / classes if classes else math.nan), mode)


def _triplet(near: Any, far: Any, across: Any, margin: float, reduction: str) -> Any:
    """max(0, near - far + margin), far no more than `across` where that is given."""
    far = far if across is None else minimum(far, across)
    return reduced(relu(scaled(subtract(near, far), 1.0, margin)), reduction)


def _margin(function: str, margin: Any) -> float:
    width = check.finite(function, "margin", margin)
    if width <= 0.0:
        raise ValueError(f"{function}: margin must be positive, found {width}")
    return width


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the `pairwise_distance` of order p.

    Three arrays (N, D) or (D,). swap: where the positive is nearer to the negative than the anchor is, that distance
    counts (Balntas et al., 2016). Returns () or, for "none", (N,).
    """
    function = "triplet_margin_loss"
    check.floating(function, anchor=anchor, positive=positive, negative=negative)
    mode = reduction_of(function, reduction, size_average, reduce)
    width, order, small = _margin(function, margin), check.number(function, "p", p), check.number(function, "eps", eps)
    _same_rank(function, anchor=anchor, positive=positive, negative=negative)
    common_shape(function, anchor=anchor, positive=positive, negative=negative)
    near, far = pairwise_distance(anchor, positive, order, small), pairwise_distance(anchor, negative, order, small)
    swapped = check.boolean(function, "swap", swap)
    return _triplet(near, far, pairwise_distance(positive, negative, order, small) if swapped else None, width, mode)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_loss` with distances by distance_function(x1, x2); None: `pairwise_distance`."""
    function = "triplet_margin_with_distance_loss"
    check.floating(function, anchor=anchor, positive=positive, negative=negative)
    mode = check.choice(function, "reduction", reduction, REDUCTIONS)
    width = _margin(function, margin)
    if not (distance_function is None or callable(distance_function)):
        raise TypeError(f"{function}: distance_function must be callable, found {distance_function!r}")
    _same_rank(function, anchor=anchor, positive=positive, negative=negative)
    common_shape(function, anchor=anchor, positive=positive, negative=negative)
    distance = distance_function or pairwise_distance
    swapped = check.boolean(function, "swap", swap)
    across = distance(positive, negative) if swapped else None
    return _triplet(distance(anchor, positive), distance(anchor, negative), across, width, mode)


def contrastive_loss(distance: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """d^2 / 2 for pairs that are alike (target 0), max(0, margin - d)^2 / 2 for others (target 1).

    distance, not negative, and target: one shape, for example (N,). Hadsell, Chopra and LeCun (2006). Between 0 and 1
    the target mixes the two.
    """
    function = "contrastive_loss"
    check.floating(function, distance=distance, target=target)
    mode = check.choice(function, "reduction", reduction, REDUCTIONS)
    width = _margin(function, margin)
    check.same_shape(function, "target", target, distance.shape)
    alike = multiply(subtract(1.0, target), square(distance))
    return reduced(scaled(add(alike, multiply(target, square(relu(subtract(width, distance))))), 0.5), mode)
