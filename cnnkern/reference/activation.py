# SPDX-License-Identifier: BSD-3-Clause
"""Activations: y has the shape of x. NaN stays NaN; at a kink the derivative is the one PyTorch takes."""

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
    """The activation that other operations apply to their result: none, relu, leaky_relu or clamp."""
    if activation == "none":
        return y
    if activation == "relu":
        return relu(y)
    if activation == "leaky_relu":
        return leaky_relu(y, slope=slope)
    if activation == "clamp":
        return clamp(y, low=low, high=high)
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
