# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalization over all axes but the second (Ioffe and Szegedy, 2015).

y = weight * (x - mean) * rstd + bias with rstd = 1 / sqrt(var + eps); x is (N, C) or (N, C, ...), vectors are (C).
"""

import numpy as np

from ._array import Array, real
from .activation import activate, activate_grad


def _column(vector: Array, ndim: int) -> Array:
    """(C) -> (C, 1, 1): so that it meets the channels of (N, C, H, W)."""
    return real(vector).reshape(-1, *[1] * (ndim - 2))


def _other_axes(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _affine(normalized: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        normalized = normalized * _column(weight, normalized.ndim)
    if bias is not None:
        normalized = normalized + _column(bias, normalized.ndim)
    return normalized


@np.errstate(invalid="ignore", divide="ignore")
def batch_norm(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> Array:
    """x (N, C, ...) with given statistics (C) -> y like x: normalization at inference."""
    x = real(x)
    rstd = 1 / np.sqrt(_column(var, x.ndim) + eps)
    y = _affine((x - _column(mean, x.ndim)) * rstd, weight, bias)
    return activate(y, activation, slope, low, high)


@np.errstate(invalid="ignore", divide="ignore")
def batch_norm_training(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    residual: Array | None = None,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> tuple[Array, Array, Array]:
    """x (N, C, ...) -> y like x, save_mean (C), save_rstd (C); the running arrays (C) are updated in place.

    running <- (1 - momentum) * running + momentum * statistic of the batch. The batch is normalized by its biased
    variance (over n), the running variance takes the unbiased one (over n - 1). An empty batch leaves them as they are.
    A residual (like x) is added before the activation.
    """
    x = real(x)
    count = x.size // max(x.shape[1], 1)
    if count:
        mean, var = x.mean(_other_axes(x)), x.var(_other_axes(x))
        for running, statistic in ((running_mean, mean), (running_var, var * count / max(count - 1, 1))):
            if running is not None:
                running[...] = (1 - momentum) * real(running) + momentum * statistic
    else:
        mean = var = np.zeros(x.shape[1])
    rstd = 1 / np.sqrt(var + eps)
    y = _affine((x - _column(mean, x.ndim)) * _column(rstd, x.ndim), weight, bias)
    if residual is not None:
        y = y + real(residual)
    return activate(y, activation, slope, low, high), mean, rstd


@np.errstate(invalid="ignore")
def batch_norm_grad(
    dy: Array,
    x: Array,
    save_mean: Array,
    save_rstd: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    training: bool = True,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> tuple[Array, Array, Array]:
    """dy, x (N, C, ...), save_mean, save_rstd (C) -> dx like x, dweight (C), dbias (C).

    In training mean and rstd depend on x, so dx loses its mean and its part along the normalized x; otherwise (frozen
    statistics) they are constants. dy is the gradient by activation(y). A residual (like x) is added to dx.
    """
    dy, x = real(dy), real(x)
    axes, count = _other_axes(x), max(x.size // max(x.shape[1], 1), 1)
    rstd = _column(save_rstd, x.ndim)
    normalized = (x - _column(save_mean, x.ndim)) * rstd
    dy = activate_grad(dy, _affine(normalized, weight, bias), activation, slope, low, high)
    dweight, dbias = (dy * normalized).sum(axes), dy.sum(axes)
    dx = dy
    if training:
        dx = dy - (_column(dbias, x.ndim) + normalized * _column(dweight, x.ndim)) / count
    dx = _affine(dx * rstd, weight, None)
    return dx if residual is None else dx + real(residual), dweight, dbias
