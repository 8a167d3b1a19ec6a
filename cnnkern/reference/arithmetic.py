# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on each element, with NumPy's broadcasting, and the sum that undoes a broadcast.

Integers stay integers where the operation has an integer result; infinities and NaN follow IEEE 754 without a warning.
"""

import numpy as np

from ._array import Array, exact, real

_ieee = np.errstate(divide="ignore", invalid="ignore", over="ignore")


@_ieee
def add(a: Array, b: Array) -> Array:
    """a + b."""
    return exact(a) + exact(b)


@_ieee
def subtract(a: Array, b: Array) -> Array:
    """a - b."""
    return exact(a) - exact(b)


@_ieee
def multiply(a: Array, b: Array) -> Array:
    """a * b."""
    return exact(a) * exact(b)


@_ieee
def divide(a: Array, b: Array) -> Array:
    """a / b, never rounded to an integer."""
    return real(a) / real(b)


def negative(x: Array) -> Array:
    """-x."""
    return -exact(x)


def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b; NaN where one is NaN."""
    return np.maximum(exact(a), exact(b))


def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b; NaN where one is NaN."""
    return np.minimum(exact(a), exact(b))


def abs(x: Array) -> Array:
    """|x|."""
    return np.abs(exact(x))


def abs_grad(dy: Array, x: Array) -> Array:
    """dy times the sign of x, 0 at 0 (and for NaN)."""
    dy, x = exact(dy), exact(x)
    return np.where(x > 0, dy, np.where(x < 0, -dy, 0))


@_ieee
def power(x: Array, *, alpha: float) -> Array:
    """x ^ alpha. The powers 1/2 and -1/2 are square roots: NaN at -infinity."""
    x = real(x)
    if alpha == 0.5:
        return np.sqrt(x)
    return np.asarray(1 / np.sqrt(x) if alpha == -0.5 else np.power(x, alpha))


@_ieee
def power_grad(dy: Array, x: Array, *, alpha: float) -> Array:
    """dy * alpha * x ^ (alpha - 1)."""
    return real(dy) * (alpha * power(x, alpha=alpha - 1)) if alpha else 0 * real(dy)


@_ieee
def exp(x: Array) -> Array:
    """e^x."""
    return np.exp(real(x))


@_ieee
def exp_grad(dy: Array, y: Array) -> Array:
    """dy * y, with y = exp(x)."""
    return real(dy) * real(y)


@_ieee
def log(x: Array) -> Array:
    """Natural logarithm; -inf at 0, NaN below."""
    return np.log(real(x))


@_ieee
def log_grad(dy: Array, x: Array) -> Array:
    """dy / x."""
    return real(dy) / real(x)


@_ieee
def sqrt(x: Array) -> Array:
    """Square root; NaN below 0."""
    return np.sqrt(real(x))


@_ieee
def sqrt_grad(dy: Array, y: Array) -> Array:
    """dy / (2 y), with y = sqrt(x)."""
    return real(dy) / (2 * real(y))


@_ieee
def square(x: Array) -> Array:
    """x * x."""
    x = exact(x)
    return np.multiply(x, x)


@_ieee
def square_grad(dy: Array, x: Array) -> Array:
    """2 * x * dy."""
    return 2 * exact(x) * exact(dy)


@_ieee
def scale(x: Array, *, alpha: float = 1.0, beta: float = 0.0) -> Array:
    """alpha * x + beta."""
    return alpha * exact(x) + beta


@_ieee
def expand(x: Array, factor: Array, *, shape: tuple[int, ...]) -> Array:
    """x * factor, its axes of size 1 repeated to those of `shape` (the gradient of `sum_to`); factor is (1, ...)."""
    return np.array(np.broadcast_to(exact(x) * exact(factor), shape))


@_ieee
def sum_to(x: Array, *, shape: tuple[int, ...], scale: float = 1.0) -> Array:
    """Sums x over the axes that have size 1 in `shape` (the gradient of broadcasting), times `scale`.

    `shape` has as many axes as x, each of the size of x's or 1.
    """
    x = exact(x)
    if len(shape) != x.ndim or any(s not in (1, n) for s, n in zip(shape, x.shape, strict=True)):
        raise ValueError(f"sum_to: cannot sum {x.shape} to {shape}")
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    total: Array = x.sum(axes, keepdims=True)
    return total if scale == 1 else total * scale
