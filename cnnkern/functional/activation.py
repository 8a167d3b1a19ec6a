# SPDX-License-Identifier: BSD-3-Clause
"""Activations, and softmax along one axis. NaN stays NaN everywhere."""

from __future__ import annotations

import warnings
from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional._lowering import around
from cnnkern.functional.elementwise import multiply, negative, unary
from cnnkern.functional.shape import SLICE
from cnnkern.graph import Attrs, KernelCall, Node, OpDef, Spec, Symbol, apply, define

RELU = unary("relu")
LEAKY_RELU = unary("leaky_relu", parameters=("slope",))
SIGMOID = unary("sigmoid", saved="y", second=lambda y, attrs: 1.0 - 2.0 * y)
TANH = unary("tanh", saved="y", second=lambda y, attrs: -2.0 * y)
CLAMP = unary("clamp", parameters=("low", "high"))


def _infer_softmax(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _lower_softmax(node: Node) -> list[KernelCall]:
    shape = node.outputs[0].shape
    rows = around(shape, node.attrs["axis"]) if shape else (1, 1, 1)
    return [KernelCall(node.op.name, {}, [(value, rows) for value in (*node.inputs, *node.outputs)])]


def _softmax(name: str) -> OpDef:
    grad = define(f"{name}_grad", _infer_softmax, lower=_lower_softmax)

    def gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
        return apply(grad, (dy, node.outputs[0]), node.attrs)

    return define(name, _infer_softmax, gradient=gradient, lower=_lower_softmax)


SOFTMAX = _softmax("softmax")
LOG_SOFTMAX = _softmax("log_softmax")


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), of any shape (Nair and Hinton, 2010). inplace=True is refused: inputs are never changed."""
    check.floating("relu", input=input)
    if inplace is not False:
        check.not_in_place("relu", inplace)
    return apply(RELU, (input,), {})[0]


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope * x (Maas et al., 2013). inplace=True is refused."""
    check.floating("leaky_relu", input=input)
    check.not_in_place("leaky_relu", inplace)
    slope = check.number("leaky_relu", "negative_slope", negative_slope)
    return apply(LEAKY_RELU, (input,), {"slope": slope})[0]


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x))."""
    check.floating("sigmoid", input=input)
    return apply(SIGMOID, (input,), {})[0]


def tanh(input: Any) -> Any:
    """Hyperbolic tangent."""
    check.floating("tanh", input=input)
    return apply(TANH, (input,), {})[0]


def clamped(input: Any, low: float, high: float) -> Any:
    """min(max(x, low), high) with no gradient outside low < x < high."""
    return apply(CLAMP, (input,), {"low": low, "high": high})[0]


def bounds(function: str, min_val: Any, max_val: Any) -> Attrs:
    """Attributes of a clamp."""
    low, high = check.number(function, "min_val", min_val), check.number(function, "max_val", max_val)
    if not low <= high:
        raise ValueError(f"{function}: min_val must not be above max_val, found {low} and {high}")
    return {"low": low, "high": high}


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """min(max(x, min_val), max_val). The gradient is 0 at and beyond the bounds. inplace=True is refused."""
    check.floating("hardtanh", input=input)
    check.not_in_place("hardtanh", inplace)
    return apply(CLAMP, (input,), bounds("hardtanh", min_val, max_val))[0]


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6) (Krizhevsky, 2010). inplace=True is refused."""
    check.floating("relu6", input=input)
    check.not_in_place("relu6", inplace)
    return clamped(input, 0.0, 6.0)


def _axis(function: str, dim: Any, rank: int) -> int:
    if dim is None:
        warnings.warn(f"{function}: give dim; PyTorch's old default was chosen", UserWarning, stacklevel=3)
        return 0 if rank in (0, 1, 3) else 1
    return check.axis(function, "dim", dim, rank)


def softmax(input: Any, dim: int | None = None) -> Any:
    """exp(x) / sum of exp(x) along axis `dim`. Without dim PyTorch's deprecated choice is made, with a warning."""
    check.floating("softmax", input=input)
    return apply(SOFTMAX, (input,), {"axis": _axis("softmax", dim, len(input.shape))})[0]


def log_softmax(input: Any, dim: int | None = None) -> Any:
    """x - log(sum of exp(x)) along axis `dim`. Without dim as for `softmax`."""
    check.floating("log_softmax", input=input)
    return apply(LOG_SOFTMAX, (input,), {"axis": _axis("log_softmax", dim, len(input.shape))})[0]


def softmin(input: Any, dim: int | None = None) -> Any:
    """softmax of -x along axis `dim`. Without dim as for `softmax`."""
    check.floating("softmin", input=input)
    return apply(SOFTMAX, (negative(input),), {"axis": _axis("softmin", dim, len(input.shape))})[0]


def glu(input: Any, dim: int = -1) -> Any:
    """a * sigmoid(b), a and b the two halves of an axis of even size (Dauphin et al., 2017)."""
    check.floating("glu", input=input)
    if not input.shape:
        raise ValueError("glu: input must have at least one axis, found shape ()")
    axis = check.axis("glu", "dim", dim, len(input.shape))
    size = input.shape[axis]
    if size % 2:
        raise ValueError(f"glu: the size of axis {axis} must be even, found {size} (input: {input.shape})")
    first, second = (
        apply(SLICE, (input,), {"axis": axis, "start": start, "stop": start + size // 2})[0] for start in (0, size // 2)
    )
    return multiply(first, sigmoid(second))
