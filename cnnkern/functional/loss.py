# SPDX-License-Identifier: BSD-3-Clause
"""Losses with PyTorch's signatures: reduction "mean", "sum" or "none" (formerly size_average and reduce)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.activation import clamped, relu, sigmoid
from cnnkern.functional.elementwise import add, divide, exp, log, multiply, negative, scaled, sqrt, square, subtract
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, override_gradient, product

_REDUCTIONS = ("none", "mean", "sum")
_SMALLEST = float(np.float32(1e-12))  # x (1 - x) is not taken below it; PyTorch has it as a float


def _reduction(function: str, reduction: Any, size_average: Any, reduce: Any) -> str:
    if size_average is None and reduce is None:
        return check.choice(function, "reduction", reduction, _REDUCTIONS)
    warnings.warn(
        f"{function}: size_average and reduce are deprecated, use reduction", DeprecationWarning, stacklevel=3
    )
    average = size_average is None or check.boolean(function, "size_average", size_average)
    if not (reduce is None or check.boolean(function, "reduce", reduce)):
        return "none"
    return "mean" if average else "sum"


def _total(value: Any, scale: float = 1.0) -> Any:
    """Sum of all elements, times scale, as an array without axes."""
    return reshape_to(sum_axes(value, (1,) * len(value.shape), scale), ())


def _reduced(value: Any, reduction: str) -> Any:
    if reduction == "none":
        return value
    count = product(value.shape)
    return _total(value, 1.0 if reduction == "sum" else 1.0 / count if count else float("nan"))


def _infer_cross_entropy(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    logits, target = inputs[:2]
    return (Spec(target.shape if attrs["reduction"] == "none" else (), logits.dtype),)


def _infer_cross_entropy_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[1].shape, inputs[1].dtype),)


def _lower_cross_entropy(node: Node) -> list[KernelCall]:
    backward = node.op is CROSS_ENTROPY_GRAD
    logits, target, weight = node.inputs[1:] if backward else node.inputs
    outer, size, inner = logits.shape[0], logits.shape[1], product(logits.shape[2:])
    each = (outer, inner) if node.attrs["reduction"] == "none" else (1,)
    args = [(logits, (outer, size, inner)), (target, (outer, inner)), (weight, None if weight is None else (size,))]
    if backward:
        args = [(node.inputs[0], each), *args, (node.outputs[0], (outer, size, inner))]
    else:
        args = [*args, (node.outputs[0], each)]
    attrs = {**node.attrs, "reduction": _REDUCTIONS.index(node.attrs["reduction"])}
    return [KernelCall(node.op.name, attrs, args)]


def _cross_entropy_gradient(node: Node, dloss: Symbol) -> tuple[Symbol | None, ...]:
    return apply(CROSS_ENTROPY_GRAD, (dloss, *node.inputs), node.attrs)[0], None, None


CROSS_ENTROPY = define(
    "cross_entropy", _infer_cross_entropy, gradient=_cross_entropy_gradient, lower=_lower_cross_entropy
)
CROSS_ENTROPY_GRAD = define("cross_entropy_grad", _infer_cross_entropy_grad, lower=_lower_cross_entropy)


def _checked_target(function: str, input: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any]:
    """Check classes (N, C, ...) or (C,) against target indices. Returns both with a batch axis."""
    shape: Shape = input.shape
    if not shape:
        raise ValueError(f"{function}: input must have shape (N, C, ...) or (C,), found ()")
    classes = shape[0] if len(shape) == 1 else shape[1]
    if classes == 0:
        raise ValueError(f"{function}: input has no classes, found shape {shape}")
    if isinstance(target, (np.ndarray, Symbol)) and target.dtype.kind == "f":
        raise TypeError(
            f"{function}: target must hold class indices, found {target.dtype} (probabilities are not supported)"
        )
    check.vector(function, "weight", weight, classes)
    if isinstance(target, np.integer):
        target = np.asarray(target)
    indices = check.integers(function, "target", target, 0, classes - 1, ignore_index)
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    check.same_shape(function, "target", indices, expected)
    check.elements(function, "input", shape)
    if len(shape) == 1:
        return reshape_to(input, (1, classes)), _reshape_target(indices, (1,))
    return input, indices


def _reshape_target(target: Any, shape: Shape) -> Any:
    return reshape_to(target, shape) if isinstance(target, Symbol) else target.reshape(shape)


def _cross_entropy_attrs(function: str, reduction: str, ignore_index: Any, label_smoothing: Any) -> Attrs:
    return {
        "reduction": reduction,
        "ignore_index": check.integer(function, "ignore_index", ignore_index),
        "label_smoothing": check.finite(function, "label_smoothing", label_smoothing, 0.0, 1.0),
    }


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of softmax(input) against class indices.

    input: logits (N, C), (N, C, ...) or (C,); target: integers (N,), (N, ...) or (); weight: (C,), a factor per class.
    Targets equal to ignore_index do not count; "mean" divides by the sum of the weights that count. label_smoothing
    (Szegedy et al., 2016) spreads that share of the target over all classes. Returns () or, for "none", target's shape.
    """
    function = "cross_entropy"
    check.floating(function, ("weight",), input=input, weight=weight)
    mode = _reduction(function, reduction, size_average, reduce)
    attrs = _cross_entropy_attrs(function, mode, ignore_index, label_smoothing)
    logits, indices = _checked_target(function, input, target, weight, attrs["ignore_index"])
    (loss,) = apply(CROSS_ENTROPY, (logits, indices, weight), attrs)
    return reshape_to(loss, ()) if len(input.shape) == 1 else loss


def cross_entropy_grad(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Gradient of `cross_entropy` with respect to its input; grad_output has the shape of the loss."""
    function = "cross_entropy_grad"
    check.floating(function, ("weight",), grad_output=grad_output, input=input, weight=weight)
    mode = check.choice(function, "reduction", reduction, _REDUCTIONS)
    attrs = _cross_entropy_attrs(function, mode, ignore_index, label_smoothing)
    logits, indices = _checked_target(function, input, target, weight, attrs["ignore_index"])
    unbatched = len(input.shape) == 1
    each = () if mode != "none" or unbatched else indices.shape
    check.same_shape(function, "grad_output", grad_output, each)
    dloss = reshape_to(grad_output, (1,)) if unbatched and mode == "none" else grad_output
    return reshape_to(apply(CROSS_ENTROPY_GRAD, (dloss, logits, indices, weight), attrs)[0], input.shape)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood: -weight[t] * input[t] for log-probabilities; otherwise as `cross_entropy`."""
    function = "nll_loss"
    check.floating(function, ("weight",), input=input, weight=weight)
    mode = _reduction(function, reduction, size_average, reduce)
    attrs = {**_cross_entropy_attrs(function, mode, ignore_index, 0.0), "log_probabilities": True}
    values, indices = _checked_target(function, input, target, weight, attrs["ignore_index"])
    (loss,) = apply(CROSS_ENTROPY, (values, indices, weight), attrs)
    return reshape_to(loss, ()) if len(input.shape) == 1 else loss


def _difference(function: str, input: Any, target: Any, weight: Any = None) -> Any:
    """input - target, of one shape (PyTorch warns and broadcasts where shapes differ, which is hardly ever meant)."""
    check.floating(function, ("weight",), input=input, target=target, weight=weight)
    check.same_shape(function, "target", target, input.shape)
    if weight is not None:
        check.same_shape(function, "weight", weight, input.shape)
    return subtract(input, target)


def _weighted(loss: Any, weight: Any, reduction: str) -> Any:
    """Reduce a loss; with weights the mean is over their sum."""
    if weight is None:
        return _reduced(loss, reduction)
    loss = multiply(loss, weight)
    return divide(_total(loss), _total(weight)) if reduction == "mean" else _reduced(loss, reduction)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """(input - target)^2; all arrays of one shape. "mean" with weight divides by the sum of the weights."""
    mode = _reduction("mse_loss", reduction, size_average, reduce)
    return _weighted(square(_difference("mse_loss", input, target, weight)), weight, mode)


def _absolute(value: Any) -> Any:
    """|value|, with gradient 0 at 0."""
    return add(relu(value), relu(negative(value)))


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """|input - target|; all arrays of one shape. "mean" with weight divides by the sum of the weights."""
    mode = _reduction("l1_loss", reduction, size_average, reduce)
    return _weighted(_absolute(_difference("l1_loss", input, target, weight)), weight, mode)


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
    mode = _reduction("smooth_l1_loss", reduction, size_average, reduce)
    width = check.finite("smooth_l1_loss", "beta", beta, 0.0)
    difference = _difference("smooth_l1_loss", input, target)
    return _reduced(scaled(_huber(difference, width), 1.0 / width) if width else _absolute(difference), mode)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2) (Huber, 1964), with d = input - target."""
    mode = check.choice("huber_loss", "reduction", reduction, _REDUCTIONS)
    width = check.finite("huber_loss", "delta", delta, 0.0)
    if width == 0.0:
        raise ValueError("huber_loss: delta must be positive, found 0.0")
    loss = _huber(_difference("huber_loss", input, target, weight), width)
    return _reduced(loss if weight is None else multiply(loss, weight), mode)


def pseudo_huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """delta^2 (sqrt(1 + (d / delta)^2) - 1), a smooth `huber_loss` (Charbonnier et al., 1997), with d = input - target.

    Both arrays of one shape. Computed as d^2 / (1 + sqrt(1 + (d / delta)^2)), which keeps small d exact.
    """
    mode = check.choice("pseudo_huber_loss", "reduction", reduction, _REDUCTIONS)
    width = check.finite("pseudo_huber_loss", "delta", delta, 0.0)
    if width == 0.0:
        raise ValueError("pseudo_huber_loss: delta must be positive, found 0.0")
    difference = _difference("pseudo_huber_loss", input, target)
    root = sqrt(add(square(scaled(difference, 1.0 / width)), 1.0))
    return _reduced(divide(square(difference), add(root, 1.0)), mode)


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """max(0, 1 - target * input) for targets -1 and 1 (Cortes and Vapnik, 1995); both arrays of one shape."""
    mode = check.choice("hinge_loss", "reduction", reduction, _REDUCTIONS)
    check.floating("hinge_loss", input=input, target=target)
    check.same_shape("hinge_loss", "target", target, input.shape)
    return _reduced(relu(subtract(1.0, multiply(target, input))), mode)


def _check_weight(function: str, name: str, weight: Any, shape: Shape) -> None:
    """A weight that is broadcast to the input's shape."""
    if weight is not None:
        try:
            fits = np.broadcast_shapes(weight.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{function}: {name} of shape {weight.shape} cannot be broadcast to {shape}")


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x, logarithms not below -100; weight is broadcast.

    Differentiable with respect to input alone. ValueError if an element of an input array is outside 0 .. 1.
    """
    function = "binary_cross_entropy"
    check.floating(function, ("weight",), input=input, target=target, weight=weight)
    mode = _reduction(function, reduction, size_average, reduce)
    check.same_shape(function, "target", target, input.shape)
    _check_weight(function, "weight", weight, input.shape)
    if isinstance(input, np.ndarray) and not ((input >= 0) & (input <= 1)).all():
        raise ValueError(
            f"{function}: all elements of input must be in 0 .. 1; for logits use binary_cross_entropy_with_logits"
        )
    rest = subtract(1.0, input)
    opposite = subtract(1.0, target)
    infinity = float("inf")
    positive = multiply(target, clamped(log(input), -100.0, infinity))
    loss = negative(add(positive, multiply(opposite, clamped(log(rest), -100.0, infinity))))
    loss = override_gradient(
        loss, input, lambda: divide(subtract(input, target), clamped(multiply(input, rest), _SMALLEST, infinity))
    )
    return _reduced(loss if weight is None else multiply(loss, weight), mode)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """`binary_cross_entropy` of sigmoid(input), computed without overflow; pos_weight multiplies the positive term.

    With a = 1 + (pos_weight - 1) t the loss is (1 - t) x + a (log(1 + exp(-|x|)) + max(-x, 0)).
    """
    function = "binary_cross_entropy_with_logits"
    check.floating(function, ("weight", "pos_weight"), input=input, target=target, weight=weight, pos_weight=pos_weight)
    mode = _reduction(function, reduction, size_average, reduce)
    check.same_shape(function, "target", target, input.shape)
    _check_weight(function, "weight", weight, input.shape)
    _check_weight(function, "pos_weight", pos_weight, input.shape)
    softplus = add(log(add(exp(negative(_absolute(input))), 1.0)), relu(negative(input)))  # log(1 + exp(-x))
    softplus = override_gradient(softplus, input, lambda: subtract(sigmoid(input), 1.0))  # right at 0 too
    if pos_weight is not None:
        softplus = multiply(softplus, add(multiply(subtract(pos_weight, 1.0), target), 1.0))
    loss = add(multiply(subtract(1.0, target), input), softplus)
    return _reduced(loss if weight is None else multiply(loss, weight), mode)
