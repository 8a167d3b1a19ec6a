# SPDX-License-Identifier: BSD-3-Clause
"""Losses between numbers: squared and absolute differences, their mixtures, likelihoods and divergences.

reduction is "mean", "sum" or "none" (formerly size_average and reduce). Shapes that differ are broadcast, with a
warning where PyTorch warns, for it is hardly ever meant.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._eager import depth_of_caller
from cnnkern.functional._reduction import REDUCTIONS, above, common_shape, reduced, reduction_of, total
from cnnkern.functional.activation import clamped
from cnnkern.functional.elementwise import abs as absolute
from cnnkern.functional.elementwise import add, divide, exp, log, multiply, scaled, sqrt, square, subtract
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import override_gradient

_INFINITY = float("inf")


def _difference(function: str, input: Any, target: Any, weight: Any = None) -> Any:
    check.floating(function, ("weight",), input=input, target=target, weight=weight)
    if target.shape != input.shape:
        common_shape(function, input=input, target=target)
        warnings.warn(
            f"{function}: target of shape {target.shape} is broadcast with input of shape {input.shape}",
            UserWarning,
            stacklevel=depth_of_caller(),
        )
    if weight is not None:
        check.same_shape(function, "weight", weight, input.shape)
    return subtract(input, target)


def _weighted(loss: Any, weight: Any, reduction: str) -> Any:
    """Reduce a loss; with weights the mean is over their sum."""
    if weight is None:
        return reduced(loss, reduction)
    loss = multiply(loss, weight)
    return divide(total(loss), total(weight)) if reduction == "mean" else reduced(loss, reduction)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """(input - target)^2; weight has the shape of input. "mean" with weight divides by the sum of the weights."""
    mode = reduction_of("mse_loss", reduction, size_average, reduce)
    return _weighted(square(_difference("mse_loss", input, target, weight)), weight, mode)


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """|input - target|; weight has the shape of input. "mean" with weight divides by the sum of the weights."""
    mode = reduction_of("l1_loss", reduction, size_average, reduce)
    return _weighted(absolute(_difference("l1_loss", input, target, weight)), weight, mode)


def _huber(difference: Any, delta: float) -> Any:
    """c (d - c / 2) with c = d clamped to -delta .. delta: half of d^2 inside, delta (|d| - delta / 2) outside."""
    inner = clamped(difference, -delta, delta)
    return multiply(inner, subtract(difference, scaled(inner, 0.5)))


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2 (Girshick, 2015), d = input - target; beta = 0 is l1."""
    mode = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    width = check.finite("smooth_l1_loss", "beta", beta, 0.0)
    difference = _difference("smooth_l1_loss", input, target)
    return reduced(scaled(_huber(difference, width), 1.0 / width) if width else absolute(difference), mode)


def _positive(function: str, name: str, value: Any) -> float:
    number = check.finite(function, name, value, 0.0)
    if number == 0.0:
        raise ValueError(f"{function}: {name} must be positive, found {number}")
    return number


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2) (Huber, 1964), with d = input - target.

    weight has the shape of input; "mean" divides by the number of elements.
    """
    mode = check.choice("huber_loss", "reduction", reduction, REDUCTIONS)
    width = _positive("huber_loss", "delta", delta)
    loss = _huber(_difference("huber_loss", input, target, weight), width)
    return reduced(loss if weight is None else multiply(loss, weight), mode)


def pseudo_huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """delta^2 (sqrt(1 + (d / delta)^2) - 1), a smooth `huber_loss` (Charbonnier et al., 1997), with d = input - target.

    Computed as d^2 / (1 + sqrt(1 + (d / delta)^2)), which keeps small d exact.
    """
    mode = check.choice("pseudo_huber_loss", "reduction", reduction, REDUCTIONS)
    width = _positive("pseudo_huber_loss", "delta", delta)
    difference = _difference("pseudo_huber_loss", input, target)
    root = sqrt(add(square(scaled(difference, 1.0 / width)), 1.0))
    return reduced(divide(square(difference), add(root, 1.0)), mode)


def _x_log_x(value: Any) -> Any:
    """x log(x), 0 at 0: the logarithm is kept from being infinite."""
    lowest = float(np.finfo(value.dtype).min)
    return multiply(value, clamped(log(value), lowest, _INFINITY))


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """Divergence of Kullback and Leibler (1951): target (log(target) - input) for log-probabilities `input`.

    target: probabilities, or their logarithms with log_target. Both of any shapes that can be broadcast.
    reduction may also be "batchmean": the sum divided by the size of input's first axis, which is the divergence
    itself; "mean" divides by the number of elements.
    """
    function = "kl_div"
    check.floating(function, input=input, target=target)
    mode = reduction_of(function, reduction, size_average, reduce, (*REDUCTIONS, "batchmean"))
    common_shape(function, input=input, target=target)
    if check.boolean(function, "log_target", log_target):
        loss = multiply(exp(target), subtract(target, input))
    else:
        loss = subtract(_x_log_x(target), multiply(target, input))
    if mode != "batchmean":
        return reduced(loss, mode)
    batch = input.shape[0] if input.shape else 1
    return total(loss, 1.0 / batch if batch else float("nan"))


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of counts `target` under a Poisson distribution of mean exp(input) (or input).

    exp(input) - target * input, or input - target * log(input + eps) without log_input; full adds Stirling's
    approximation of log(target!) where target > 1. Shapes are broadcast.
    """
    function = "poisson_nll_loss"
    check.floating(function, input=input, target=target)
    mode, small = reduction_of(function, reduction, size_average, reduce), check.number(function, "eps", eps)
    common_shape(function, input=input, target=target)
    if check.boolean(function, "log_input", log_input):
        loss = subtract(exp(input), multiply(target, input))
    else:
        loss = subtract(input, multiply(target, log(scaled(input, 1.0, small))))
    if check.boolean(function, "full", full):
        count = clamped(target, 1.0, _INFINITY)
        rest = scaled(log(scaled(count, 2.0 * math.pi)), 0.5)
        stirling = add(subtract(multiply(count, log(count)), count), rest)
        loss = add(loss, multiply(stirling, above(target, 1.0)))
    return reduced(loss, mode)


def _variance(function: str, var: Any, input: Any) -> Any:
    """A variance that can be broadcast to input's shape."""
    shape = input.shape
    if isinstance(var, float):
        if var < 0:
            raise ValueError(f"{function}: var must not be negative, found {var}")
        return np.full(shape, var, input.dtype)
    check.floating(function, input=input, var=var)
    if isinstance(var, np.ndarray) and (var < 0).any():
        raise ValueError(f"{function}: var must not be negative, found {var[var < 0].flat[0]}")
    if var.shape == shape:
        return var
    if shape and var.shape == shape[:-1]:
        return reshape_to(var, (*var.shape, 1))
    if len(var.shape) != len(shape) or sum(own for size, own in zip(shape, var.shape, strict=True) if own != size) != 1:
        raise ValueError(
            f"{function}: var must have shape {shape}, {shape[:-1]} or one axis of size 1, found {var.shape}"
        )
    return var


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """Negative log-likelihood of `target` under normal distributions of mean `input` and variance `var`.

    (log(v) + (input - target)^2 / v) / 2, v = max(var, eps), whose gradient ignores the maximum (Nix and Weigend,
    1994); full adds log(2 pi) / 2. var: a float, or an array of the shape of input, of that without its last axis, or
    with one axis of size 1. ValueError for a negative variance.
    """
    function = "gaussian_nll_loss"
    check.floating(function, input=input, target=target)
    mode = check.choice(function, "reduction", reduction, REDUCTIONS)
    smallest = check.number(function, "eps", eps)
    variance = _variance(function, var, input)
    common_shape(function, input=input, target=target, var=variance)
    variance = override_gradient(
        clamped(variance, smallest, _INFINITY), variance, lambda: np.ones(variance.shape, variance.dtype)
    )
    loss = add(log(variance), divide(square(subtract(input, target)), variance))
    constant = 0.5 * math.log(2 * math.pi) if check.boolean(function, "full", full) else 0.0
    return reduced(scaled(loss, 0.5, constant), mode)
