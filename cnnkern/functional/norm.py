# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalization (Ioffe and Szegedy, 2015): y = weight (x - mean) / sqrt(var + eps) + bias, per channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.elementwise import scaled, sqrt
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer_inference(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _infer_training(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    shape, dtype = inputs[0].shape, inputs[0].dtype
    return Spec(shape, dtype), Spec((shape[1],), dtype), Spec((shape[1],), dtype)


def _infer_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return _infer_training(inputs[1:], attrs)


def _lower(node: Node) -> list[KernelCall]:
    args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
    return [KernelCall(node.op.name, node.attrs, args)]


def _inference_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    x, mean, var, weight, bias = node.inputs
    rstd = np.ones(var.shape, var.dtype) / sqrt(scaled(var, 1.0, node.attrs["eps"]))
    dx, dweight, dbias = apply(BATCH_NORM_GRAD, (dy, x, mean, rstd, weight, None, None), {"training": False})
    return dx, None, None, dweight if weight is not None else None, dbias if bias is not None else None


def _training_gradient(node: Node, dy: Symbol | None, *_: Symbol | None) -> tuple[Symbol | None, ...]:
    x, weight, bias = node.inputs[:3]
    saved = node.outputs[1:]
    dx, dweight, dbias = apply(BATCH_NORM_GRAD, (dy, x, *saved, weight, None, None), {"training": True})
    return dx, dweight if weight is not None else None, dbias if bias is not None else None, None, None, None


BATCH_NORM = define("batch_norm", _infer_inference, gradient=_inference_gradient, lower=_lower)
BATCH_NORM_TRAINING = define(
    "batch_norm_training", _infer_training, gradient=_training_gradient, mutates=(3, 4), lower=_lower
)
BATCH_NORM_GRAD = define("batch_norm_grad", _infer_grad, lower=_lower)


def _checked(function: str, x: Shape) -> Shape:
    """Check (N, C, ...) and return it with at most four axes: (N, C, L) if there are more."""
    if len(x) < 2:
        raise ValueError(f"{function}: input must have shape (N, C, ...), found {x}")
    if 0 in x[1:]:
        raise ValueError(f"{function}: input must not be empty except for the batch, found {x}")
    check.elements(function, "input", x)
    return x if len(x) <= 4 else (*x[:2], product(x[2:]))


def _check_eps(function: str, eps: Any, training: bool) -> float:
    value = check.finite(function, "eps", eps, 0.0)
    if training and value == 0.0:
        raise ValueError(f"{function}: eps must be positive in training, found {eps}")
    return value


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize each channel of (N, C, ...); the other arrays have shape (C,), all of one dtype.

    training=False uses running_mean and running_var. training=True uses the statistics of the batch and, where running
    arrays are given, updates them IN PLACE: running <- (1 - momentum) running + momentum * statistic (the variance with
    n - 1). Raises TypeError for wrong dtypes, ValueError for shapes that do not fit, one value per channel in training,
    or missing running arrays in inference.
    """
    if check.boolean("batch_norm", "training", training):
        return batch_norm_training(
            input, weight, bias, running_mean, running_var, momentum, eps, function="batch_norm"
        )[0]
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var must be given when training is False")
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check.floating("batch_norm", ("weight", "bias"), input=input, **vectors)
    shape = _checked("batch_norm", input.shape)
    if momentum is not None:
        check.number("batch_norm", "momentum", momentum)
    for name, value in vectors.items():
        check.vector("batch_norm", name, value, shape[1])
    attrs = {"eps": _check_eps("batch_norm", eps, False)}
    (y,) = apply(BATCH_NORM, (reshape_to(input, shape), running_mean, running_var, weight, bias), attrs)
    return reshape_to(y, input.shape)


def batch_norm_training(
    input: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    function: str = "batch_norm_training",
) -> tuple[Any, Any, Any]:
    """`batch_norm` with training=True that also returns what `batch_norm_grad` needs.

    Returns y like input, and the batch's mean and 1 / sqrt(var + eps), both (C,). function: the name that errors show.
    """
    vectors = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    check.floating(function, tuple(vectors), input=input, **vectors)
    shape = _checked(function, input.shape)
    for name, value in vectors.items():
        check.vector(function, name, value, shape[1])
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            raise ValueError(f"{function}: {name} is read-only, but training updates it")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{function}: give both running_mean and running_var, or neither")
    if product(shape) == shape[1]:
        raise ValueError(f"{function}: training needs more than one value per channel, input has shape {input.shape}")
    factor = check.finite(function, "momentum", momentum, 0.0, 1.0)
    attrs = {"eps": _check_eps(function, eps, True), "momentum": factor}
    inputs = (reshape_to(input, shape), weight, bias, running_mean, running_var, None)
    y, mean, rstd = apply(BATCH_NORM_TRAINING, inputs, attrs)
    return reshape_to(y, input.shape), mean, rstd


def batch_norm_grad(
    grad_output: Any, input: Any, save_mean: Any, save_rstd: Any, weight: Any = None, *, training: bool = True
) -> tuple[Any, Any, Any]:
    """Gradients of batch normalization with respect to input, weight and bias.

    grad_output and input: (N, C, ...); save_mean, save_rstd (see `batch_norm_training`) and weight: (C,). With
    training=False the statistics are constants. Returns (like input, (C,), (C,)).
    """
    function = "batch_norm_grad"
    values = {"grad_output": grad_output, "input": input, "save_mean": save_mean, "save_rstd": save_rstd}
    check.floating(function, ("weight",), **values, weight=weight)
    shape = _checked(function, input.shape)
    check.same_shape(function, "grad_output", grad_output, input.shape)
    for name, value in (("save_mean", save_mean), ("save_rstd", save_rstd), ("weight", weight)):
        check.vector(function, name, value, shape[1])
    attrs = {"training": check.boolean(function, "training", training)}
    inputs = (reshape_to(grad_output, shape), reshape_to(input, shape), save_mean, save_rstd, weight, None, None)
    dx, dweight, dbias = apply(BATCH_NORM_GRAD, inputs, attrs)
    return reshape_to(dx, input.shape), dweight, dbias
