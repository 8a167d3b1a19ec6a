# SPDX-License-Identifier: BSD-3-Clause
"""Normalization by the statistics of a part of each example: group, instance and layer normalization, RMS norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.elementwise import divide, multiply, scaled, sqrt, square, subtract
from cnnkern.functional.norm import batch_norm
from cnnkern.functional.optim import SGD_STEP
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x = inputs[0]
    statistics = Spec((x.shape[0], attrs["groups"]), x.dtype)
    return Spec(x.shape, x.dtype), statistics, statistics


def _infer_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x = inputs[1]
    return Spec(x.shape, x.dtype), Spec((x.shape[1],), x.dtype), Spec((x.shape[1],), x.dtype)


def _lower(node: Node) -> list[KernelCall]:
    args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
    return [KernelCall(node.op.name, node.attrs, args)]


def _gradient(node: Node, dy: Symbol | None, *_: Symbol | None) -> tuple[Symbol | None, ...]:
    x, weight, bias = node.inputs
    attrs = {"groups": node.attrs["groups"]}
    dx, dweight, dbias = apply(GROUP_NORM_GRAD, (dy, x, *node.outputs[1:], weight), attrs)
    return dx, dweight if weight is not None else None, dbias if bias is not None else None


GROUP_NORM = define("group_norm", _infer, gradient=_gradient, lower=_lower)
GROUP_NORM_GRAD = define("group_norm_grad", _infer_grad, lower=_lower)


def _checked(function: str, shape: Shape, groups: int) -> Shape:
    """(N, C, ...) with at most four axes: (N, C, L) if there are more."""
    if len(shape) < 2:
        raise ValueError(f"{function}: input must have shape (N, C, ...), found {shape}")
    if not shape[1] or shape[1] % groups:
        raise ValueError(f"{function}: num_groups={groups} must divide the {shape[1]} channels")
    check.elements(function, "input", shape)
    return shape if len(shape) <= 4 else (*shape[:2], product(shape[2:]))


def _normalized(function: str, x: Any, groups: int, weight: Any, bias: Any, eps: Any) -> tuple[Any, Any, Any]:
    """y like x, mean and 1 / sqrt(var + eps), both (N, groups)."""
    shape = _checked(function, x.shape, groups)
    for name, value in (("weight", weight), ("bias", bias)):
        check.vector(function, name, value, shape[1])
    attrs = {"groups": groups, "eps": check.finite(function, "eps", eps, 0.0)}
    y, mean, rstd = apply(GROUP_NORM, (reshape_to(x, shape), weight, bias), attrs)
    return reshape_to(y, x.shape), mean, rstd


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias, each group of channels of each image by itself (Wu and He, 2018).

    input: (N, C, ...), num_groups divides C; weight and bias: (C,). Raises TypeError for wrong dtypes, ValueError for
    shapes that do not fit and for a single value in all.
    """
    function = "group_norm"
    check.floating(function, ("weight", "bias"), input=input, weight=weight, bias=bias)
    groups = check.integer(function, "num_groups", num_groups, 1)
    shape = input.shape
    if len(shape) >= 2 and shape[0] * (shape[1] // groups) * product(shape[2:]) == 1:
        raise ValueError(f"{function}: there must be more than one value per group, found shape {shape}")
    return _normalized(function, input, groups, weight, bias, eps)[0]


def group_norm_grad(
    grad_output: Any, input: Any, num_groups: int, weight: Any = None, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """Gradients of `group_norm` with respect to input, weight and bias: (like input, (C,), (C,))."""
    function = "group_norm_grad"
    check.floating(function, ("weight",), grad_output=grad_output, input=input, weight=weight)
    check.same_shape(function, "grad_output", grad_output, input.shape)
    groups = check.integer(function, "num_groups", num_groups, 1)
    _, mean, rstd = _normalized(function, input, groups, None, None, eps)
    shape = _checked(function, input.shape, groups)
    check.vector(function, "weight", weight, shape[1])
    inputs = (reshape_to(grad_output, shape), reshape_to(input, shape), mean, rstd, weight)
    dx, dweight, dbias = apply(GROUP_NORM_GRAD, inputs, {"groups": groups})
    return reshape_to(dx, input.shape), dweight, dbias


def _normalized_axes(function: str, shape: Shape, normalized_shape: Any) -> Shape:
    """(rows, columns): the last axes, which must be normalized_shape, are the columns."""
    wanted = check.shape(function, "normalized_shape", normalized_shape)
    if not wanted or shape[len(shape) - len(wanted) :] != wanted or len(wanted) > len(shape):
        raise ValueError(f"{function}: input must have shape (*, {', '.join(map(str, wanted))}), found {shape}")
    check.elements(function, "input", shape)
    return product(shape[: len(shape) - len(wanted)]), product(wanted)


def _row(function: str, name: str, value: Any, shape: Shape) -> Any:
    """An optional array of the normalized shape as one row."""
    if value is None:
        return None
    check.same_shape(function, name, value, shape)
    return reshape_to(value, (product(shape),))


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias over the last axes (Ba, Kiros and Hinton, 2016).

    normalized_shape: a tuple, the sizes of those axes; weight and bias have that shape.
    """
    function = "layer_norm"
    check.floating(function, ("weight", "bias"), input=input, weight=weight, bias=bias)
    rows, columns = _normalized_axes(function, input.shape, normalized_shape)
    w, b = (
        _row(function, name, value, tuple(normalized_shape)) for name, value in (("weight", weight), ("bias", bias))
    )
    if not rows * columns:
        check.finite(function, "eps", eps, 0.0)
        return input
    y, _, _ = _normalized(function, reshape_to(input, (rows, columns)), 1, w, b, eps)
    return reshape_to(y, input.shape)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """weight x / sqrt(mean of x^2 + eps) over the last axes (Zhang and Sennrich, 2019); shapes as for `layer_norm`.

    eps defaults to the precision of the dtype.
    """
    function = "rms_norm"
    dtype = check.floating(function, ("weight",), input=input, weight=weight)
    rows, columns = _normalized_axes(function, input.shape, normalized_shape)
    row = _row(function, "weight", weight, tuple(normalized_shape))
    small = float(np.finfo(dtype).eps) if eps is None else check.finite(function, "eps", eps, 0.0)
    if not rows * columns:
        return input
    x = reshape_to(input, (rows, columns))
    mean = sum_axes(square(x), (rows, 1), 1.0 / columns)
    y = divide(x, sqrt(scaled(mean, 1.0, small)))
    if row is not None:
        y = multiply(y, row)
    return reshape_to(y, input.shape)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias, each channel of each image by itself (Ulyanov et al., 2016).

    input: (N, C, ...); the other arrays: (C,). Running arrays that are given are updated IN PLACE by the mean over the
    batch of the statistics (the variance with n - 1). use_input_stats=False normalizes by the running arrays.
    """
    function = "instance_norm"
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check.floating(function, tuple(vectors), input=input, **vectors)
    shape = input.shape
    if len(shape) < 2:
        raise ValueError(f"{function}: input must have shape (N, C, ...), found {shape}")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{function}: give both running_mean and running_var, or neither")
    for name, value in vectors.items():
        check.vector(function, name, value, shape[1])
    factor = check.finite(function, "momentum", momentum)
    if not shape[1] or (not shape[0] and not (weight is None and bias is None)):
        raise ValueError(f"{function}: an empty input takes neither weight nor bias, found shape {shape}")
    if not check.boolean(function, "use_input_stats", use_input_stats):
        if running_mean is None:
            raise ValueError(f"{function}: running_mean and running_var must be given when use_input_stats is False")
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    count = product(shape[2:])
    if count == 1:
        raise ValueError(f"{function}: there must be more than one value per channel of an image, found shape {shape}")
    y, mean, rstd = _normalized(function, input, shape[1], weight, bias, eps)
    if running_mean is not None and shape[0] and count:
        _follow(running_mean, mean, factor)
        variance = scaled(divide(np.ones((1, 1), mean.dtype), square(rstd)), 1.0, -float(eps))
        _follow(running_var, scaled(variance, count / (count - 1)), factor)
    return y


def _follow(running: Any, statistic: Any, momentum: float) -> None:
    """running <- (1 - momentum) running + momentum * (mean over the images of statistic (N, C)), in place."""
    n, c = statistic.shape
    away = subtract(running, reshape_to(sum_axes(statistic, (1, c), 1.0 / n), (c,)))
    hyper = np.array([momentum, 1.0, 0, 0, 0, 0, 0, 0], statistic.dtype)
    attrs = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    apply(SGD_STEP, (running, away, None, hyper), attrs)
