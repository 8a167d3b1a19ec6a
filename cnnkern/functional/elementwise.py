# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on elements: add, subtract, multiply, divide with broadcasting, and functions of one argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._lowering import elementwise, merged
from cnnkern.functional.shape import reshape, unbroadcast
from cnnkern.graph import OPS, Attrs, KernelCall, Node, OpDef, Shape, Spec, Symbol, apply, define


def _same(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _infer_broadcast(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    a, b = inputs
    shape = a.shape if a.shape == b.shape else np.broadcast_shapes(a.shape, b.shape)
    return (Spec(shape, a.dtype),)


def _lower_binary(node: Node) -> list[KernelCall]:
    values = (*node.inputs, *node.outputs)
    rank = max(len(value.shape) for value in values)
    shapes = merged(node.op.name, [(1,) * (rank - len(value.shape)) + value.shape for value in values])
    return [KernelCall("binary", {"function": node.op.name, **node.attrs}, list(zip(values, shapes, strict=True)))]


def _binary(name: str, gradient: Callable[[Any, Any, Any, Any], tuple[Any, Any]]) -> OpDef:
    """gradient(a, b, y, dy) gives the gradients before broadcasting is undone."""

    def rule(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
        a, b = node.inputs
        da, db = gradient(a, b, node.outputs[0], dy)
        return unbroadcast(da, a.shape), unbroadcast(db, b.shape)

    return define(name, _infer_broadcast, gradient=rule, lower=_lower_binary)


ADD = _binary("add", lambda a, b, y, dy: (dy, dy))
SUBTRACT = _binary("subtract", lambda a, b, y, dy: (dy, -dy))
MULTIPLY = _binary("multiply", lambda a, b, y, dy: (dy * b, dy * a))
DIVIDE = _binary("divide", lambda a, b, y, dy: (dy / b, -(dy / b * y)))


def _of_the_larger(a: Any, b: Any, dy: Any) -> Any:
    """dy where a > b, half of it where they are equal, else 0."""
    relu_grad = OPS["relu_grad"]
    above, below = apply(relu_grad, (dy, a - b), {})[0], apply(relu_grad, (dy, b - a), {})[0]
    return scaled(above + (dy - below), 0.5)


MAXIMUM = _binary("maximum", lambda a, b, y, dy: (_of_the_larger(a, b, dy), _of_the_larger(b, a, dy)))
MINIMUM = _binary("minimum", lambda a, b, y, dy: (_of_the_larger(b, a, dy), _of_the_larger(a, b, dy)))


def _prelu_gradient(x: Any, weight: Any, y: Any, dy: Any) -> tuple[Any, Any]:
    passing = apply(OPS["relu_grad"], (dy, x), {})[0]
    rest = dy - passing
    return passing + rest * weight, rest * x


PRELU = _binary("prelu", _prelu_gradient)


def unary(
    name: str,
    saved: str = "x",
    parameters: tuple[str, ...] = (),
    second: Callable[[Any, Attrs], Any] = lambda saved, attrs: None,
) -> OpDef:
    """Define an op of one argument whose gradient op, <name>_grad, takes dy and x or y (`saved`) and is linear in dy.

    parameters: the attributes that the core calls alpha, beta and gamma. second: d(gradient / dy) / d saved, None if it
    is 0.
    """

    def core_attrs(node: Node) -> Attrs:
        return {"function": name, **{key: node.attrs[own] for key, own in zip(_PARAMETERS, parameters, strict=False)}}

    def gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
        return apply(grad, (dy, node.inputs[0] if saved == "x" else node.outputs[0]), node.attrs)

    def grad_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
        dy, value = node.inputs
        curvature = second(value, node.attrs)
        return apply(grad, (g, value), node.attrs)[0], None if curvature is None else g * dy * curvature

    def lower_grad(node: Node) -> list[KernelCall]:
        return elementwise("unary_grad", core_attrs(node), node)

    grad = define(f"{name}_grad", _same, gradient=grad_gradient, lower=lower_grad)
    return define(name, _same, gradient=gradient, lower=lambda node: elementwise("unary", core_attrs(node), node))


_PARAMETERS = ("alpha", "beta", "gamma")


def _linear(name: str, gradient: Callable[..., Any], **parameters: str) -> OpDef:
    """Define an op of one argument whose gradient needs no op of its own."""

    def lower(node: Node) -> list[KernelCall]:
        attrs = {"function": name, **{key: node.attrs[parameter] for key, parameter in parameters.items()}}
        return elementwise("unary", attrs, node)

    return define(name, _same, gradient=gradient, lower=lower)


NEGATIVE: OpDef = _linear("negative", lambda node, dy: apply(NEGATIVE, (dy,), {}))
SCALE: OpDef = _linear(
    "scale",
    lambda node, dy: apply(SCALE, (dy,), {"alpha": node.attrs["alpha"], "beta": 0.0}),
    alpha="alpha",
    beta="beta",
)
EXP = unary("exp", saved="y", second=lambda y, attrs: 1.0)
LOG = unary("log", second=lambda x, attrs: -1.0 / (x * x))
SQRT = unary("sqrt", saved="y", second=lambda y, attrs: -0.5 / (y * y))
SQUARE = unary("square", second=lambda x, attrs: 2.0)
ABS = unary("abs")


def _power_curvature(x: Any, attrs: Attrs) -> Any:
    p = attrs["alpha"]
    return None if p in (0.0, 1.0) else scaled(apply(POWER, (x,), {"alpha": p - 2.0})[0], p * (p - 1.0))


POWER = unary("power", parameters=("alpha",), second=_power_curvature)


def scaled(value: Any, alpha: float, beta: float = 0.0) -> Any:
    """alpha * value + beta."""
    return apply(SCALE, (value,), {"alpha": alpha, "beta": beta})[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _operands(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    """Check two arrays for a broadcasting op; a number becomes an array of the other's dtype."""
    if _is_number(input) and _is_number(other):
        raise TypeError(f"{name}: one argument must be an array, found two numbers")
    if _is_number(input):
        check.floating(name, other=other)
        return np.full((1,) * len(other.shape), check.number(name, "input", input), other.dtype), other
    if _is_number(other):
        check.floating(name, input=input)
        return input, np.full((1,) * len(input.shape), check.number(name, "other", other), input.dtype)
    check.floating(name, input=input, other=other)
    if input.shape != other.shape:
        _check_broadcast(name, input.shape, other.shape)
    return input, other


def _check_broadcast(name: str, a: Shape, b: Shape) -> None:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        raise ValueError(f"{name}: shapes {a} and {b} cannot be broadcast together") from None
    check.elements(name, "the result", shape)
    merged(name, [(1,) * (len(shape) - len(each)) + each for each in (a, b, shape)])


def add(input: Any, other: Any) -> Any:
    """input + other, with NumPy's broadcasting. One of the two may be a number."""
    if _is_number(input):
        input, other = other, input
    if _is_number(other):
        check.floating("add", input=input)
        return scaled(input, 1.0, check.number("add", "other", other))
    return apply(ADD, _operands("add", input, other), {})[0]


def subtract(input: Any, other: Any) -> Any:
    """input - other, with NumPy's broadcasting. One of the two may be a number."""
    if _is_number(other):
        check.floating("subtract", input=input)
        return scaled(input, 1.0, -check.number("subtract", "other", other))
    if _is_number(input):
        check.floating("subtract", other=other)
        return scaled(other, -1.0, check.number("subtract", "input", input))
    return apply(SUBTRACT, _operands("subtract", input, other), {})[0]


def multiply(input: Any, other: Any) -> Any:
    """input * other, with NumPy's broadcasting. One of the two may be a number."""
    if _is_number(input):
        input, other = other, input
    if _is_number(other):
        check.floating("multiply", input=input)
        return scaled(input, check.number("multiply", "other", other))
    return apply(MULTIPLY, _operands("multiply", input, other), {})[0]


def divide(input: Any, other: Any) -> Any:
    """input / other, with NumPy's broadcasting. One of the two may be a number. Division by zero follows IEEE 754."""
    return apply(DIVIDE, _operands("divide", input, other), {})[0]


def negative(input: Any) -> Any:
    """-input."""
    check.floating("negative", input=input)
    return apply(NEGATIVE, (input,), {})[0]


def exp(input: Any) -> Any:
    """e to the power of each element."""
    check.floating("exp", input=input)
    return apply(EXP, (input,), {})[0]


def log(input: Any) -> Any:
    """Natural logarithm: -inf at 0, NaN below."""
    check.floating("log", input=input)
    return apply(LOG, (input,), {})[0]


def sqrt(input: Any) -> Any:
    """Square root: NaN below 0."""
    check.floating("sqrt", input=input)
    return apply(SQRT, (input,), {})[0]


def square(input: Any) -> Any:
    """Each element times itself."""
    check.floating("square", input=input)
    return apply(SQUARE, (input,), {})[0]


def abs(input: Any) -> Any:
    """|x|. The derivative at 0 is 0."""
    check.floating("abs", input=input)
    return apply(ABS, (input,), {})[0]


def pow(input: Any, exponent: float) -> Any:
    """Each element to the power of one number (torch.pow); NaN for a negative one to a power that is not whole."""
    check.floating("pow", input=input)
    return apply(POWER, (input,), {"alpha": check.finite("pow", "exponent", exponent)})[0]


def reciprocal(input: Any) -> Any:
    """1 / x: infinite at 0."""
    check.floating("reciprocal", input=input)
    return apply(POWER, (input,), {"alpha": -1.0})[0]


def rsqrt(input: Any) -> Any:
    """1 / sqrt(x): infinite at 0, NaN below."""
    check.floating("rsqrt", input=input)
    return apply(POWER, (input,), {"alpha": -0.5})[0]


def maximum(input: Any, other: Any) -> Any:
    """The larger of two, NaN where one is NaN, with NumPy's broadcasting. One of the two may be a number.

    Where they are equal each gets half of the gradient.
    """
    return apply(MAXIMUM, _operands("maximum", input, other), {})[0]


def minimum(input: Any, other: Any) -> Any:
    """The smaller of two, NaN where one is NaN, with NumPy's broadcasting. One of the two may be a number.

    Where they are equal each gets half of the gradient.
    """
    return apply(MINIMUM, _operands("minimum", input, other), {})[0]


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": add,
    "subtract": subtract,
    "multiply": multiply,
    "divide": divide,
    "negative": negative,
    "reshape": reshape,
}
