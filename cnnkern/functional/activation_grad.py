# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of activations as functions of their own: grad_output and what was kept, of one shape and dtype."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.activation import bounds
from cnnkern.functional.smooth import SELU, celu_attrs
from cnnkern.graph import OPS, Attrs, apply


def _backward(function: str, op: str, grad_output: Any, saved_name: str, saved: Any, attrs: Attrs) -> Any:
    check.floating(function, **{"grad_output": grad_output, saved_name: saved})
    check.same_shape(function, "grad_output", grad_output, saved.shape)
    return apply(OPS[op], (grad_output, saved), attrs)[0]


def relu_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `relu`: grad_output where input > 0, else 0 (also at 0). Both of one shape."""
    return _backward("relu_grad", "relu_grad", grad_output, "input", input, {})


def leaky_relu_grad(grad_output: Any, input: Any, negative_slope: float = 0.01) -> Any:
    """Gradient of `leaky_relu`: grad_output where input > 0, else negative_slope * grad_output."""
    slope = check.number("leaky_relu_grad", "negative_slope", negative_slope)
    return _backward("leaky_relu_grad", "leaky_relu_grad", grad_output, "input", input, {"slope": slope})


def silu_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `silu`: grad_output * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    return _backward("silu_grad", "silu_grad", grad_output, "input", input, {})


def gelu_grad(grad_output: Any, input: Any, approximate: str = "none") -> Any:
    """Gradient of `gelu`: grad_output * (P(x) + x * p(x)), p the normal density, or that of the approximation."""
    choice = check.choice("gelu_grad", "approximate", approximate, ("none", "tanh"))
    op = "gelu_grad" if choice == "none" else "gelu_tanh_grad"
    return _backward("gelu_grad", op, grad_output, "input", input, {})


def mish_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `mish`."""
    return _backward("mish_grad", "mish_grad", grad_output, "input", input, {})


def elu_grad(grad_output: Any, input: Any, alpha: float = 1.0) -> Any:
    """Gradient of `elu`: grad_output where input > 0, else grad_output * alpha * exp(x)."""
    attrs = {"alpha": check.finite("elu_grad", "alpha", alpha), "beta": 1.0, "gamma": 1.0}
    return _backward("elu_grad", "elu_grad", grad_output, "input", input, attrs)


def selu_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `selu`."""
    return _backward("selu_grad", "elu_grad", grad_output, "input", input, SELU)


def celu_grad(grad_output: Any, input: Any, alpha: float = 1.0) -> Any:
    """Gradient of `celu`: grad_output where input > 0, else grad_output * exp(x / alpha)."""
    return _backward("celu_grad", "elu_grad", grad_output, "input", input, celu_attrs("celu_grad", alpha))


def softplus_grad(grad_output: Any, input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Gradient of `softplus`: grad_output * sigmoid(beta * x), grad_output where beta * x > threshold."""
    attrs = {
        "alpha": check.number("softplus_grad", "beta", beta),
        "beta": check.number("softplus_grad", "threshold", threshold),
    }
    return _backward("softplus_grad", "softplus_grad", grad_output, "input", input, attrs)


def logsigmoid_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `logsigmoid`: grad_output * sigmoid(-x)."""
    return _backward("logsigmoid_grad", "logsigmoid_grad", grad_output, "input", input, {})


def softsign_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `softsign`: grad_output / (1 + |x|)^2."""
    return _backward("softsign_grad", "softsign_grad", grad_output, "input", input, {})


def hardswish_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `hardswish`: grad_output times 0 where x <= -3, 1 where x >= 3, x / 3 + 1 / 2 between."""
    return _backward("hardswish_grad", "hardswish_grad", grad_output, "input", input, {})


def hardsigmoid_grad(grad_output: Any, input: Any) -> Any:
    """Gradient of `hardsigmoid`: grad_output / 6 where -3 < x < 3, else 0."""
    return _backward("hardsigmoid_grad", "hardsigmoid_grad", grad_output, "input", input, {})


def hardshrink_grad(grad_output: Any, input: Any, lambd: float = 0.5) -> Any:
    """Gradient of `hardshrink`: grad_output where |x| > lambd, else 0."""
    attrs = {"alpha": check.number("hardshrink_grad", "lambd", lambd)}
    return _backward("hardshrink_grad", "hardshrink_grad", grad_output, "input", input, attrs)


def softshrink_grad(grad_output: Any, input: Any, lambd: float = 0.5) -> Any:
    """Gradient of `softshrink`: grad_output where |x| > lambd, else 0."""
    attrs = {"alpha": check.finite("softshrink_grad", "lambd", lambd, 0.0)}
    return _backward("softshrink_grad", "softshrink_grad", grad_output, "input", input, attrs)


def sigmoid_grad(grad_output: Any, output: Any) -> Any:
    """Gradient of `sigmoid` from its result: grad_output * output * (1 - output)."""
    return _backward("sigmoid_grad", "sigmoid_grad", grad_output, "output", output, {})


def tanh_grad(grad_output: Any, output: Any) -> Any:
    """Gradient of `tanh` from its result: grad_output * (1 - output^2)."""
    return _backward("tanh_grad", "tanh_grad", grad_output, "output", output, {})


def hardtanh_grad(grad_output: Any, input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """Gradient of `hardtanh`: grad_output where min_val < input < max_val, else 0."""
    return _backward(
        "hardtanh_grad", "clamp_grad", grad_output, "input", input, bounds("hardtanh_grad", min_val, max_val)
    )


def softmax_grad(grad_output: Any, output: Any, dim: int) -> Any:
    """Gradient of `softmax` from its result: output * (grad_output - sum along dim of grad_output * output)."""
    check.floating("softmax_grad", output=output)
    axis = check.axis("softmax_grad", "dim", dim, len(output.shape))
    return _backward("softmax_grad", "softmax_grad", grad_output, "output", output, {"axis": axis})


def log_softmax_grad(grad_output: Any, output: Any, dim: int) -> Any:
    """Gradient of `log_softmax` from its result: grad_output - exp(output) * sum along dim of grad_output."""
    check.floating("log_softmax_grad", output=output)
    axis = check.axis("log_softmax_grad", "dim", dim, len(output.shape))
    return _backward("log_softmax_grad", "log_softmax_grad", grad_output, "output", output, {"axis": axis})
