# SPDX-License-Identifier: BSD-3-Clause
"""Local response normalization: channels inhibited by their neighbours."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _lower(node: Node) -> list[KernelCall]:
    values = (*node.inputs, *node.outputs)
    return [KernelCall(node.op.name, node.attrs, [(value, value.shape) for value in values])]


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    return apply(LOCAL_RESPONSE_NORM_GRAD, (dy, node.inputs[0]), node.attrs)


LOCAL_RESPONSE_NORM = define("local_response_norm", _infer, gradient=_gradient, lower=_lower)
LOCAL_RESPONSE_NORM_GRAD = define("local_response_norm_grad", _infer, lower=_lower)


def _checked(function: str, shape: Shape, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[Shape, Attrs]:
    if len(shape) < 3:
        raise ValueError(f"{function}: input must have shape (N, C, ...) of three axes or more, found {shape}")
    attrs: Attrs = {"size": check.integer(function, "size", size, 1)}
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        attrs[name] = check.number(function, name, value)
    return check.elements(function, "input", shape if len(shape) <= 5 else (*shape[:2], product(shape[2:]))), attrs


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha / size * sum of x^2 over `size` channels around)^beta (Krizhevsky, Sutskever and Hinton, 2012).

    (N, C, ...) of three axes or more; the window holds channels c - size // 2 to c + (size - 1) // 2, zeros beyond the
    ends. As in PyTorch alpha is divided by size; the paper's is not.
    """
    check.floating("local_response_norm", input=input)
    shape, attrs = _checked("local_response_norm", input.shape, size, alpha, beta, k)
    if product(shape) == 0:
        return input
    (y,) = apply(LOCAL_RESPONSE_NORM, (reshape_to(input, shape),), attrs)
    return reshape_to(y, input.shape)


def local_response_norm_grad(
    grad_output: Any, input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """Gradient of `local_response_norm`; both arrays have the shape of its input."""
    function = "local_response_norm_grad"
    check.floating(function, grad_output=grad_output, input=input)
    check.same_shape(function, "grad_output", grad_output, input.shape)
    shape, attrs = _checked(function, input.shape, size, alpha, beta, k)
    (dx,) = apply(LOCAL_RESPONSE_NORM_GRAD, (reshape_to(grad_output, shape), reshape_to(input, shape)), attrs)
    return reshape_to(dx, input.shape)
