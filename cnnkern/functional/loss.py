# SPDX-License-Identifier: BSD-3-Clause
"""Losses of classes and labels; reduction is "mean", "sum" or "none" (formerly size_average and reduce)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._reduction import REDUCTIONS, reduced, reduction_of, reshape_indices, total
from cnnkern.functional.activation import clamped, log_softmax
from cnnkern.functional.elementwise import add, divide, log, multiply, negative, scaled, subtract
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.functional.smooth import logsigmoid
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, override_gradient, product

_SMALLEST = float(np.float32(1e-12))  # x (1 - x) is not taken below it; PyTorch has it as a float


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
    attrs = {**node.attrs, "reduction": REDUCTIONS.index(node.attrs["reduction"])}
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
        raise TypeError(f"{function}: target must hold class indices, found {target.dtype}")
    check.vector(function, "weight", weight, classes)
    if isinstance(target, np.integer):
        target = np.asarray(target)
    indices = check.integers(function, "target", target, 0, classes - 1, ignore_index)
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    check.same_shape(function, "target", indices, expected)
    check.elements(function, "input", shape)
    if len(shape) == 1:
        return reshape_to(input, (1, classes)), reshape_indices(indices, (1,))
    return input, indices


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
    """Cross-entropy of softmax(input) against class indices or probabilities.

    input: logits (N, C), (N, C, ...) or (C,); target: integers (N,), (N, ...) or (), or probabilities of input's shape
    and dtype; weight: (C,), a factor per class. Targets equal to ignore_index do not count; "mean" divides by the sum
    of the weights that count (by the number of positions for probabilities). label_smoothing (Szegedy et al., 2016)
    spreads that share of the target over all classes. Returns () or, for "none", input's shape without the classes.
    """
    function = "cross_entropy"
    check.floating(function, ("weight",), input=input, weight=weight)
    mode = reduction_of(function, reduction, size_average, reduce)
    if isinstance(target, (np.ndarray, Symbol)) and target.dtype.kind == "f":
        return _of_probabilities(input, target, weight, mode, ignore_index, label_smoothing)
    attrs = _cross_entropy_attrs(function, mode, ignore_index, label_smoothing)
    logits, indices = _checked_target(function, input, target, weight, attrs["ignore_index"])
    (loss,) = apply(CROSS_ENTROPY, (logits, indices, weight), attrs)
    return reshape_to(loss, ()) if len(input.shape) == 1 else loss


def _of_probabilities(
    input: Any, target: Any, weight: Any, reduction: str, ignore_index: Any, label_smoothing: Any
) -> Any:
    function = "cross_entropy"
    check.floating(function, ("weight",), input=input, target=target, weight=weight)
    shape: Shape = input.shape
    axis = min(len(shape) - 1, 1)
    if not shape or shape[axis] == 0:
        raise ValueError(f"{function}: input must have shape (N, C, ...) or (C,) with classes, found {shape}")
    check.same_shape(function, "target", target, shape)
    check.vector(function, "weight", weight, shape[axis])
    smoothing = _cross_entropy_attrs(function, reduction, ignore_index, label_smoothing)["label_smoothing"]
    if ignore_index >= 0:
        raise ValueError(f"{function}: ignore_index belongs to class indices, found {ignore_index} with probabilities")
    if smoothing:
        target = scaled(target, 1.0 - smoothing, smoothing / shape[axis])
    loss = multiply(target, log_softmax(input, axis))
    if weight is not None:
        loss = multiply(loss, reshape_to(weight, (shape[axis], *[1] * (len(shape) - 1 - axis))))
    if reduction == "none":
        rest = (*shape[:axis], *shape[axis + 1 :])
        return negative(reshape_to(sum_axes(loss, (*shape[:axis], 1, *shape[axis + 1 :])), rest))
    positions = product(shape) // shape[axis]
    return total(loss, -1.0 if reduction == "sum" else -1.0 / positions if positions else float("nan"))


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
    mode = check.choice(function, "reduction", reduction, REDUCTIONS)
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
    mode = reduction_of(function, reduction, size_average, reduce)
    attrs = {**_cross_entropy_attrs(function, mode, ignore_index, 0.0), "log_probabilities": True}
    values, indices = _checked_target(function, input, target, weight, attrs["ignore_index"])
    (loss,) = apply(CROSS_ENTROPY, (values, indices, weight), attrs)
    return reshape_to(loss, ()) if len(input.shape) == 1 else loss


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
    mode = reduction_of(function, reduction, size_average, reduce)
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
    return reduced(loss if weight is None else multiply(loss, weight), mode)


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

    With a = 1 + (pos_weight - 1) t the loss is (1 - t) x + a log(1 + exp(-x)).
    """
    function = "binary_cross_entropy_with_logits"
    check.floating(function, ("weight", "pos_weight"), input=input, target=target, weight=weight, pos_weight=pos_weight)
    mode = reduction_of(function, reduction, size_average, reduce)
    check.same_shape(function, "target", target, input.shape)
    _check_weight(function, "weight", weight, input.shape)
    _check_weight(function, "pos_weight", pos_weight, input.shape)
    softplus = negative(logsigmoid(input))  # log(1 + exp(-x))
    if pos_weight is not None:
        softplus = multiply(softplus, add(multiply(subtract(pos_weight, 1.0), target), 1.0))
    loss = add(multiply(subtract(1.0, target), input), softplus)
    return reduced(loss if weight is None else multiply(loss, weight), mode)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Class indices (...) as int64 (..., num_classes): 1 at the index, else 0.

    tensor: an array of integers from 0; num_classes: -1 for one more than the largest. Of arrays only, not of Symbols.
    Raises ValueError for indices outside the classes, and for an empty array without num_classes.
    """
    classes = check.integer("one_hot", "num_classes", num_classes, -1)
    if isinstance(tensor, Symbol):
        raise TypeError("one_hot: tensor must be a NumPy array, found a Symbol")
    indices = check.integers("one_hot", "tensor", tensor, 0, check.LARGEST)
    if classes == 0 or (classes == -1 and not indices.size):
        raise ValueError(f"one_hot: num_classes must be positive, found {num_classes} for shape {indices.shape}")
    most = int(indices.max(initial=0)) + 1
    if classes == -1:
        classes = most
    if most > classes:
        raise ValueError(f"one_hot: tensor must lie in 0 .. {classes - 1}, found {most - 1}")
    check.elements("one_hot", "the result", (*indices.shape, classes))
    result = np.zeros((*indices.shape, classes), np.int64)
    np.put_along_axis(result, indices[..., None].astype(np.int64), 1, -1)
    return result
