# SPDX-License-Identifier: BSD-3-Clause
"""Local response normalization across channels (Krizhevsky, Sutskever and Hinton, 2012)."""

import numpy as np

from ._array import Array, real


def window_sum(x: Array, before: int, after: int) -> Array:
    """Sum of channels c - before .. c + after, zeros beyond the ends."""
    channels = x.shape[1]
    total = np.zeros_like(x)
    for shift in range(-min(before, channels), min(after, channels) + 1):
        to = slice(max(0, -shift), min(channels, channels - shift))
        source = slice(max(0, shift), min(channels, channels + shift))
        total[:, to] += x[:, source]
    return total


@np.errstate(all="ignore")
def local_response_norm(x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """x (N, C, ...) -> x / s^beta, s = k + alpha / size * sum of x^2 over c - size // 2 .. c + (size - 1) // 2."""
    x = real(x)
    return np.asarray(x / (k + alpha / size * window_sum(x * x, size // 2, (size - 1) // 2)) ** beta)


@np.errstate(all="ignore")
def local_response_norm_grad(dy: Array, x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """dy, x (N, C, ...) -> dx = dy s^-beta - 2 alpha beta / size x * sum of dy x s^-(beta + 1) over windows with c."""
    dy, x = real(dy), real(x)
    before, after = size // 2, (size - 1) // 2
    s = k + alpha / size * window_sum(x * x, before, after)
    direct = dy * s**-beta
    return np.asarray(direct - 2 * alpha * beta / size * x * window_sum(direct * x / s, after, before))
