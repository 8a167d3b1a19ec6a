# SPDX-License-Identifier: BSD-3-Clause
"""Matrix product and the fully connected layer."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.shape import reshape_to, sum_axes
from cnnkern.graph import OPS, Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer_matmul(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    a, b = inputs[0].shape, inputs[1].shape
    return (Spec((a[attrs["transpose_a"]], b[not attrs["transpose_b"]]), inputs[0].dtype),)


def _lower_matmul(node: Node) -> list[KernelCall]:
    args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
    return [KernelCall("matmul", node.attrs, args)]


def product_of(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, bias: Any = None) -> Any:
    """op(a) op(b) + bias of matrices that are known to fit."""
    return apply(MATMUL, (a, b, bias), {"transpose_a": transpose_a, "transpose_b": transpose_b})[0]


def _matmul_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    a, b, bias = node.inputs
    ta, tb = node.attrs["transpose_a"], node.attrs["transpose_b"]
    da = product_of(b, dy, tb, True) if ta else product_of(dy, b, False, not tb)
    db = product_of(dy, a, True, ta) if tb else product_of(a, dy, not ta, False)
    dbias = None if bias is None else reshape_to(sum_axes(dy, (1, bias.shape[0])), bias.shape)
    return da, db, dbias


def _macs(node: Node) -> int:
    a: Shape = node.inputs[0].shape
    y: Shape = node.outputs[0].shape
    return product(y) * (a[0] if node.attrs["transpose_a"] else a[1])


MATMUL = define("matmul", _infer_matmul, gradient=_matmul_gradient, lower=_lower_matmul, macs=_macs)


def matmul(input: Any, other: Any) -> Any:
    """Product of two matrices: (M, K), (K, N) -> (M, N)."""
    check.floating("matmul", input=input, other=other)
    for name, value in (("input", input), ("other", other)):
        if len(value.shape) != 2:
            raise ValueError(f"matmul: {name} must be a matrix, found shape {value.shape}")
    if input.shape[1] != other.shape[0]:
        raise ValueError(f"matmul: input has {input.shape[1]} columns, other has {other.shape[0]} rows")
    check.elements("matmul", "the result", (input.shape[0], other.shape[1]))
    return product_of(input, other)


def _check_weight(function: str, weight: Shape) -> None:
    if len(weight) != 2:
        raise ValueError(f"{function}: weight must have shape (out_features, in_features), found {weight}")
    if 0 in weight:
        raise ValueError(f"{function}: weight must not be empty, found {weight}")


def _rows(value: Any) -> Any:
    """(..., features) -> (rows, features)."""
    shape = value.shape
    return value if len(shape) == 2 else reshape_to(value, (product(shape[:-1]), shape[-1]))


def _check_features(function: str, name: str, shape: Shape, expected: int, weight: Shape) -> None:
    if not shape or shape[-1] != expected:
        found = f"{shape[-1]} (" if shape else "no axis ("
        raise ValueError(
            f"{function}: weight expects {expected} features, {name} has {found}{name}: {shape}, weight: {weight})"
        )


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """y = x weight^T + bias. input: (..., in_features); weight: (out_features, in_features); bias: (out_features,).

    Returns (..., out_features). Raises TypeError for wrong dtypes, ValueError for shapes that do not fit.
    """
    check.floating("linear", ("bias",), input=input, weight=weight, bias=bias)
    _check_weight("linear", weight.shape)
    features, wanted = weight.shape
    shape = input.shape
    _check_features("linear", "input", shape, wanted, weight.shape)
    check.vector("linear", "bias", bias, features)
    check.elements("linear", "the result", (*shape[:-1], features))
    return reshape_to(product_of(_rows(input), weight, transpose_b=True, bias=bias), (*shape[:-1], features))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j] + bias[o].

    input1: (..., I); input2: (..., J), all axes but the last as input1's; weight: (O, I, J); bias: (O,).
    Returns (..., O).
    """
    check.floating("bilinear", ("bias",), input1=input1, input2=input2, weight=weight, bias=bias)
    if len(weight.shape) != 3 or 0 in weight.shape:
        raise ValueError(f"bilinear: weight must have shape (out, in1, in2), not empty, found {weight.shape}")
    features, one, other = weight.shape
    _check_features("bilinear", "input1", input1.shape, one, weight.shape)
    _check_features("bilinear", "input2", input2.shape, other, weight.shape)
    batch = input1.shape[:-1]
    if input2.shape[:-1] != batch:
        raise ValueError(
            f"bilinear: input1 {input1.shape} and input2 {input2.shape} must agree in all axes but the last"
        )
    check.vector("bilinear", "bias", bias, features)
    rows = product(batch)
    check.elements("bilinear", "the products", (rows, one, other))
    check.elements("bilinear", "the result", (*batch, features))
    pairs = apply(OPS["multiply"], (reshape_to(input1, (rows, one, 1)), reshape_to(input2, (rows, 1, other))), {})[0]
    matrix = reshape_to(weight, (features, one * other))
    y = product_of(reshape_to(pairs, (rows, one * other)), matrix, transpose_b=True, bias=bias)
    return reshape_to(y, (*batch, features))


def linear_grad_input(weight: Any, grad_output: Any) -> Any:
    """Gradient of `linear` with respect to its input: grad_output (..., out_features) -> (..., in_features)."""
    function = "linear_grad_input"
    check.floating(function, weight=weight, grad_output=grad_output)
    _check_weight(function, weight.shape)
    _check_features(function, "grad_output", grad_output.shape, weight.shape[0], weight.shape)
    shape = (*grad_output.shape[:-1], weight.shape[1])
    check.elements(function, "the result", shape)
    return reshape_to(product_of(_rows(grad_output), weight), shape)


def linear_grad_weight(input: Any, grad_output: Any) -> Any:
    """Gradient of `linear` with respect to its weight: (..., in_features), (..., out_features) -> (out, in)."""
    function = "linear_grad_weight"
    check.floating(function, input=input, grad_output=grad_output)
    x, dy = input.shape, grad_output.shape
    if not x or not dy or x[:-1] != dy[:-1]:
        raise ValueError(f"{function}: input {x} and grad_output {dy} must agree in all axes but the last")
    check.elements(function, "the result", (dy[-1], x[-1]))
    return product_of(_rows(grad_output), _rows(input), transpose_a=True)


def linear_grad_bias(grad_output: Any) -> Any:
    """Gradient of `linear` with respect to its bias: grad_output (..., out_features) summed to (out_features,)."""
    check.floating("linear_grad_bias", grad_output=grad_output)
    if not grad_output.shape:
        raise ValueError("linear_grad_bias: grad_output must have shape (..., out_features), found ()")
    rows = _rows(grad_output)
    return reshape_to(sum_axes(rows, (1, rows.shape[1])), (rows.shape[1],))
