# SPDX-License-Identifier: BSD-3-Clause
"""Normalization of groups of channels of each image by their own statistics (Wu and He, 2018)."""

import numpy as np

from ._array import Array, real


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, ...) -> (N, groups, everything else)."""
    return x.reshape(x.shape[0], groups, -1) if x.size else np.zeros((x.shape[0], groups, 0))


def _columns(vector: Array | None, x: Array, otherwise: float) -> Array:
    """A vector of the channels beside x."""
    column = (1, -1, *[1] * (x.ndim - 2))
    return np.full((1,) * x.ndim, otherwise) if vector is None else real(vector).reshape(column)


@np.errstate(all="ignore")
def group_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """x (N, C, ...) -> y = weight (x - mean) rstd + bias, mean and rstd = 1 / sqrt(var + eps), both (N, groups)."""
    x = real(x)
    grouped = _grouped(x, groups)
    if not grouped.size:
        return x, np.zeros(grouped.shape[:2]), np.zeros(grouped.shape[:2])
    mean, rstd = grouped.mean(2), 1 / np.sqrt(grouped.var(2) + eps)
    normalized = ((grouped - mean[..., None]) * rstd[..., None]).reshape(x.shape)
    return normalized * _columns(weight, x, 1.0) + _columns(bias, x, 0.0), mean, rstd


@np.errstate(all="ignore")
def group_norm_grad(
    dy: Array, x: Array, save_mean: Array, save_rstd: Array, weight: Array | None = None, *, groups: int
) -> tuple[Array, Array, Array]:
    """dy, x (N, C, ...), mean and rstd (N, groups) -> dx like x, dweight (C), dbias (C)."""
    dy, x = real(dy), real(x)
    mean, rstd = real(save_mean)[..., None], real(save_rstd)[..., None]
    normalized = ((_grouped(x, groups) - mean) * rstd).reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    dweight, dbias = (dy * normalized).sum(axes), dy.sum(axes)
    if not x.size:
        return x, dweight, dbias
    along, through = _grouped(dy * _columns(weight, x, 1.0), groups), _grouped(normalized, groups)
    dx = along - along.mean(2, keepdims=True) - through * (along * through).mean(2, keepdims=True)
    return (dx * rstd).reshape(x.shape), dweight, dbias
