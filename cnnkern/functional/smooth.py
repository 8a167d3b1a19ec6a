# SPDX-License-Identifier: BSD-3-Clause
"""Smooth activations: functions of exp, computed so that nothing cancels or overflows on the way. NaN stays NaN."""

from __future__ import annotations

import math
from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.activation import sigmoid, tanh
from cnnkern.functional.elementwise import abs as absolute
from cnnkern.functional.elementwise import exp, pow, scaled, square, subtract, unary
from cnnkern.graph import OPS, Attrs, apply

SELU = {"alpha": 1.6732632423543772, "beta": 1.0507009873554805, "gamma": 1.0}  # Klambauer et al., 2017
_ROOT = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _elu_curvature(x: Any, attrs: Attrs) -> Any:
    """gamma times the slope where x <= 0, else 0."""
    one = scaled(x, 0.0, 1.0)
    slope = apply(OPS["elu_grad"], (one, x), attrs)[0]
    constant = scaled(apply(OPS["relu_grad"], (one, x), {})[0], attrs["beta"])
    return scaled(slope - constant, attrs["gamma"])


def _silu_curvature(x: Any, attrs: Attrs) -> Any:
    s = sigmoid(x)
    return s * (1.0 - s) * (x * (1.0 - 2.0 * s) + 2.0)


def _gelu_curvature(x: Any, attrs: Attrs) -> Any:
    x2 = square(x)
    return scaled(exp(scaled(x2, -0.5)), 1 / math.sqrt(2 * math.pi)) * (2.0 - x2)


def _gelu_tanh_curvature(x: Any, attrs: Attrs) -> Any:
    """With y = x s(g), g = 2 sqrt(2 / pi) (x + 0.044715 x^3): 2 s' g' + x (s'' g'^2 + s' g'')."""
    x2 = square(x)
    s = sigmoid(x * scaled(x2, 2 * _ROOT * _CUBIC, 2 * _ROOT))
    first, bend = scaled(x2, 6 * _ROOT * _CUBIC, 2 * _ROOT), scaled(x, 12 * _ROOT * _CUBIC)
    return s * (1.0 - s) * (2.0 * first + x * ((1.0 - 2.0 * s) * square(first) + bend))


def _mish_curvature(x: Any, attrs: Attrs) -> Any:
    """With t = tanh(softplus(x)) and t' = (1 - t^2) s: 2 t' + x t' (1 - s - 2 t s)."""
    s, t = sigmoid(x), tanh(apply(SOFTPLUS, (x,), {"alpha": 1.0, "beta": 20.0})[0])
    return (1.0 - square(t)) * s * (x * (1.0 - s - 2.0 * t * s) + 2.0)


def _logsigmoid_curvature(x: Any, attrs: Attrs) -> Any:
    s = sigmoid(x)
    return s * (s - 1.0)


def _softsign_curvature(x: Any, attrs: Attrs) -> Any:
    below = pow(scaled(absolute(x), 1.0, 1.0), -3.0)
    return apply(OPS["abs_grad"], (scaled(below, -2.0), x), {})[0]


def _softplus_curvature(x: Any, attrs: Attrs) -> Any:
    z = scaled(x, attrs["alpha"])
    s = sigmoid(z)
    curvature = scaled(s * (1.0 - s), attrs["alpha"])
    return apply(OPS["clamp_grad"], (curvature, z), {"low": -math.inf, "high": attrs["beta"]})[0]


ELU = unary("elu", parameters=("alpha", "beta", "gamma"), second=_elu_curvature)
SILU = unary("silu", second=_silu_curvature)
GELU = unary("gelu", second=_gelu_curvature)
GELU_TANH = unary("gelu_tanh", second=_gelu_tanh_curvature)
MISH = unary("mish", second=_mish_curvature)
LOGSIGMOID = unary("logsigmoid", second=_logsigmoid_curvature)
SOFTSIGN = unary("softsign", second=_softsign_curvature)
SOFTPLUS = unary("softplus", parameters=("alpha", "beta"), second=_softplus_curvature)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert et al., 2015). inplace=True is refused."""
    check.floating("elu", input=input)
    check.not_in_place("elu", inplace)
    return apply(ELU, (input,), {"alpha": check.finite("elu", "alpha", alpha), "beta": 1.0, "gamma": 1.0})[0]


def selu(input: Any, inplace: bool = False) -> Any:
    """scale * elu(x, alpha) with the two numbers that keep mean and variance (Klambauer et al., 2017)."""
    check.floating("selu", input=input)
    check.not_in_place("selu", inplace)
    return apply(ELU, (input,), SELU)[0]


def celu_attrs(function: str, alpha: Any) -> Attrs:
    """Attributes of the ELU that a CELU is."""
    scale = check.finite(function, "alpha", alpha)
    if scale == 0.0 or math.isinf(1.0 / scale):
        raise ValueError(f"{function}: alpha must not be 0, found {scale}")
    return {"alpha": scale, "beta": 1.0, "gamma": 1.0 / scale}


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha * (exp(x / alpha) - 1) (Barron, 2017); alpha is not 0. inplace=True is refused."""
    check.floating("celu", input=input)
    check.not_in_place("celu", inplace)
    return apply(ELU, (input,), celu_attrs("celu", alpha))[0]


def silu(input: Any, inplace: bool = False) -> Any:
    """x * sigmoid(x), also called swish (Hendrycks and Gimpel, 2016). inplace=True is refused."""
    check.floating("silu", input=input)
    check.not_in_place("silu", inplace)
    return apply(SILU, (input,), {})[0]


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016).

    approximate="tanh": x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.
    """
    check.floating("gelu", input=input)
    op = GELU if check.choice("gelu", "approximate", approximate, ("none", "tanh")) == "none" else GELU_TANH
    return apply(op, (input,), {})[0]


def mish(input: Any, inplace: bool = False) -> Any:
    """x * tanh(softplus(x)) (Misra, 2019). inplace=True is refused."""
    check.floating("mish", input=input)
    check.not_in_place("mish", inplace)
    return apply(MISH, (input,), {})[0]


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta (Dugas et al., 2001); x itself where beta * x > threshold."""
    check.floating("softplus", input=input)
    attrs = {"alpha": check.number("softplus", "beta", beta), "beta": check.number("softplus", "threshold", threshold)}
    return apply(SOFTPLUS, (input,), attrs)[0]


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)) = -log(1 + exp(-x))."""
    check.floating("logsigmoid", input=input)
    return apply(LOGSIGMOID, (input,), {})[0]


def softsign(input: Any) -> Any:
    """x / (1 + |x|) (Bergstra et al., 2009); NaN at infinity, as in PyTorch."""
    check.floating("softsign", input=input)
    return apply(SOFTSIGN, (input,), {})[0]


def tanhshrink(input: Any) -> Any:
    """x - tanh(x)."""
    check.floating("tanhshrink", input=input)
    return subtract(input, tanh(input))
