# SPDX-License-Identifier: BSD-3-Clause
"""Activations: y has the shape of x. NaN stays NaN; at a kink the derivative is the one PyTorch takes."""

import math
from typing import Any

import numpy as np

from ._array import Array, exact, real


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(exact(x), 0)


def relu_grad(dy: Array, x: Array) -> Array:
    """dy where x > 0, else 0 (also at x = 0); a NaN in x lets dy pass."""
    dy, x = exact(dy), exact(x)
    return np.where(x <= 0, 0, dy)


def leaky_relu(x: Array, *, slope: float = 0.01) -> Array:
    """x where x > 0, else slope * x."""
    x = exact(x)
    return np.where(x > 0, x, slope * x)


def leaky_relu_grad(dy: Array, x: Array, *, slope: float = 0.01) -> Array:
    """dy where x > 0, else slope * dy (also at x = 0)."""
    dy, x = exact(dy), exact(x)
    return np.where(x > 0, dy, slope * dy)


def clamp(x: Array, *, low: float, high: float) -> Array:
    """min(max(x, low), high)."""
    return np.minimum(np.maximum(exact(x), low), high)


def clamp_grad(dy: Array, x: Array, *, low: float, high: float) -> Array:
    """dy where low < x < high, else 0 (also at the ends); a NaN in x lets dy pass."""
    dy, x = exact(dy), exact(x)
    return np.where((x <= low) | (x >= high), 0, dy)


def activate(y: Array, activation: str, slope: float, low: float, high: float) -> Array:
    """The activation that other operations apply to their result; slope, low and high are leaky_relu's and clamp's."""
    if activation == "none":
        return y
    if activation == "relu":
        return relu(y)
    if activation == "leaky_relu":
        return leaky_relu(y, slope=slope)
    if activation == "clamp":
        return clamp(y, low=low, high=high)
    if activation in ("silu", "hardswish", "sigmoid", "hardsigmoid"):
        return np.asarray(globals()[activation](y))
    raise ValueError(f"unknown activation {activation!r}")


def activate_grad(dy: Array, x: Array, activation: str, slope: float, low: float, high: float) -> Array:
    """dy times the derivative of `activate` at x."""
    if activation == "none":
        return dy
    if activation == "leaky_relu":
        return leaky_relu_grad(dy, x, slope=slope)
    if activation == "clamp":
        return clamp_grad(dy, x, low=low, high=high)
    if activation == "sigmoid":
        return sigmoid_grad(dy, sigmoid(x))
    if activation in ("relu", "silu", "hardswish", "hardsigmoid"):
        return np.asarray(globals()[f"{activation}_grad"](dy, x))
    raise ValueError(f"unknown activation {activation!r}")


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that exp never overflows."""
    x = real(x)
    e = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1, e) / (1 + e)
    return y


def sigmoid_grad(dy: Array, y: Array) -> Array:
    """dy * y * (1 - y), with y = sigmoid(x)."""
    dy, y = real(dy), real(y)
    return dy * y * (1 - y)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(real(x))


def tanh_grad(dy: Array, y: Array) -> Array:
    """dy * (1 - y^2), with y = tanh(x)."""
    dy, y = real(dy), real(y)
    return dy * (1 - y * y)


@np.errstate(invalid="ignore")
def softmax(x: Array, *, axis: int) -> Array:
    """exp(x) / sum(exp(x)) over `axis`; the maximum is taken off first, so that exp does not overflow."""
    x = real(x)
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    y: Array = e / e.sum(axis, keepdims=True)
    return y


def softmax_grad(dy: Array, y: Array, *, axis: int) -> Array:
    """y * (dy - sum(dy * y)), with y = softmax(x)."""
    dy, y = real(dy), real(y)
    dx: Array = y * (dy - (dy * y).sum(axis, keepdims=True))
    return dx


@np.errstate(invalid="ignore", divide="ignore")
def log_softmax(x: Array, *, axis: int) -> Array:
    """x - log(sum(exp(x))) over `axis`."""
    x = real(x)
    x = x - x.max(axis, keepdims=True, initial=-np.inf)
    y: Array = x - np.log(np.exp(x).sum(axis, keepdims=True))
    return y


def log_softmax_grad(dy: Array, y: Array, *, axis: int) -> Array:
    """dy - exp(y) * sum(dy), with y = log_softmax(x)."""
    dy, y = real(dy), real(y)
    dx: Array = dy - np.exp(y) * dy.sum(axis, keepdims=True)
    return dx


_ieee = np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
_erfc = np.frompyfunc(math.erfc, 1, 1)


@_ieee
def elu(x: Array, *, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Array:
    """beta * x where x > 0, else beta * alpha * (exp(gamma * x) - 1): ELU, SELU and CELU."""
    x = real(x)
    return np.where(x > 0, beta * x, beta * alpha * np.expm1(gamma * x))


@_ieee
def elu_grad(dy: Array, x: Array, *, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Array:
    """dy * beta where x > 0 (or NaN), else dy * beta * alpha * gamma * exp(gamma * x)."""
    dy, x = real(dy), real(x)
    return dy * np.where(x <= 0, beta * alpha * gamma * np.exp(gamma * x), beta)


@_ieee
def silu(x: Array) -> Array:
    """x / (1 + exp(-x))."""
    x = real(x)
    return x * sigmoid(x)


@_ieee
def silu_grad(dy: Array, x: Array) -> Array:
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    dy, x = real(dy), real(x)
    s = sigmoid(x)
    return np.asarray(dy * (s * (1 + x * (1 - s))))


@_ieee
def hardswish(x: Array) -> Array:
    """x * min(max(x + 3, 0), 6) / 6."""
    x = real(x)
    return x * np.clip(x + 3, 0, 6) / 6


@_ieee
def hardswish_grad(dy: Array, x: Array) -> Array:
    """dy times 0 where x <= -3, x / 3 + 1 / 2 where x < 3, else 1 (also for NaN)."""
    dy, x = real(dy), real(x)
    return dy * np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))


def hardsigmoid(x: Array) -> Array:
    """min(max(x + 3, 0), 6) / 6."""
    return np.asarray(np.clip(real(x) + 3, 0, 6) / 6)


def hardsigmoid_grad(dy: Array, x: Array) -> Array:
    """dy / 6 where |x| < 3, else 0 (also for NaN)."""
    return real(dy) * np.where(np.abs(real(x)) < 3, 1 / 6, 0)


def _below(x: Any) -> Any:
    """The standard normal distribution function."""
    return np.asarray(_erfc(-x / math.sqrt(2)), np.float64) / 2


@_ieee
def gelu(x: Array) -> Array:
    """x * P(x), P the standard normal distribution function."""
    x = real(x)
    return np.asarray(x * _below(x))


@_ieee
def gelu_grad(dy: Array, x: Array) -> Array:
    """dy * (P(x) + x * p(x)), p the density."""
    dy, x = real(dy), real(x)
    return np.asarray(dy * (_below(x) + x * (np.exp(-x * x / 2) / math.sqrt(2 * math.pi))))


_CUBIC = 0.044715


def _inner(x: Any) -> tuple[Any, Any]:
    """sigmoid(2 u) = (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), and d 2u / dx."""
    k = 2 * math.sqrt(2 / math.pi)
    return sigmoid(k * (x + _CUBIC * x**3)), k * (1 + 3 * _CUBIC * x * x)


@_ieee
def gelu_tanh(x: Array) -> Array:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2."""
    x = real(x)
    return np.asarray(x * _inner(x)[0])


@_ieee
def gelu_tanh_grad(dy: Array, x: Array) -> Array:
    """dy times the derivative of `gelu_tanh`."""
    dy, x = real(dy), real(x)
    s, slope = _inner(x)
    return np.asarray(dy * (s + x * (s * (1 - s)) * slope))


@_ieee
def mish(x: Array) -> Array:
    """x * tanh(log(1 + exp(x)))."""
    x = real(x)
    return np.asarray(x * np.tanh(np.logaddexp(0, x)))


@_ieee
def mish_grad(dy: Array, x: Array) -> Array:
    """dy * (t + x * sigmoid(x) * (1 - t^2)), t = tanh(log(1 + exp(x)))."""
    dy, x = real(dy), real(x)
    t = np.tanh(np.logaddexp(0, x))
    return np.asarray(dy * (t + x * (sigmoid(x) * (1 - t * t))))


@_ieee
def logsigmoid(x: Array) -> Array:
    """-log(1 + exp(-x))."""
    return np.asarray(-np.logaddexp(0, -real(x)))


@_ieee
def logsigmoid_grad(dy: Array, x: Array) -> Array:
    """dy * sigmoid(-x)."""
    return real(dy) * sigmoid(-real(x))


@_ieee
def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    x = real(x)
    return np.asarray(x / (1 + np.abs(x)))


@_ieee
def softsign_grad(dy: Array, x: Array) -> Array:
    """dy / (1 + |x|)^2."""
    dy, x = real(dy), real(x)
    return np.asarray(dy / np.square(1 + np.abs(x)))


@_ieee
def softplus(x: Array, *, alpha: float = 1.0, beta: float = 20.0) -> Array:
    """log(1 + exp(alpha * x)) / alpha; x where alpha * x > beta."""
    x = real(x)
    return np.where(alpha * x > beta, x, np.logaddexp(0, alpha * x) / alpha)


@_ieee
def softplus_grad(dy: Array, x: Array, *, alpha: float = 1.0, beta: float = 20.0) -> Array:
    """dy * sigmoid(alpha * x); dy where alpha * x > beta."""
    dy, x = real(dy), real(x)
    return dy * np.where(alpha * x > beta, 1, sigmoid(alpha * x))


def hardshrink(x: Array, *, alpha: float = 0.5) -> Array:
    """0 where |x| <= alpha, else x."""
    x = exact(x)
    return np.where(np.abs(x) <= alpha, 0, x)


def hardshrink_grad(dy: Array, x: Array, *, alpha: float = 0.5) -> Array:
    """0 where |x| <= alpha, else dy."""
    return np.where(np.abs(exact(x)) <= alpha, 0, exact(dy))


@_ieee
def softshrink(x: Array, *, alpha: float = 0.5) -> Array:
    """0 where |x| <= alpha, else x moved by alpha towards 0."""
    x = exact(x)
    return np.asarray(x - np.clip(x, -alpha, alpha))


def softshrink_grad(dy: Array, x: Array, *, alpha: float = 0.5) -> Array:
    """0 where |x| <= alpha, else dy."""
    return hardshrink_grad(dy, x, alpha=alpha)


def threshold(x: Array, *, alpha: float, beta: float) -> Array:
    """beta where x <= alpha, else x."""
    x = exact(x)
    return np.where(x <= alpha, beta, x)


def threshold_grad(dy: Array, x: Array, *, alpha: float, beta: float) -> Array:
    """0 where x <= alpha, else dy."""
    return np.where(exact(x) <= alpha, 0, exact(dy))


@_ieee
def prelu(x: Array, weight: Array) -> Array:
    """x where x > 0, else weight * x, with broadcasting."""
    x, weight = exact(x), exact(weight)
    return np.where(x > 0, x, x * weight)
