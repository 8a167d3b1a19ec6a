# SPDX-License-Identifier: BSD-3-Clause
"""Softmax and cross-entropy in one, over axis 1 of logits (N, C, ...) with class indices (N, ...).

With p = softmax(logits), t the target and k the label smoothing (Szegedy et al., 2016), the loss of one position is

    -(1 - k) * weight[t] * log p[t]  -  k / C * sum over c of weight[c] * log p[c]

and 0 where the target is `ignore_index`. `mean` divides the sum by the sum of weight[t] over the positions that count.
With `log_probabilities` the logits are taken as log p (the negative log-likelihood loss).
"""

import numpy as np

from ._array import Array, real
from .activation import log_softmax


def _prepare(target: Array, weight: Array | None, classes: int, ignore_index: int) -> tuple[Array, Array, Array]:
    """Which positions count (N, ...), their class (N, ...; 0 where ignored), and the weights (C)."""
    target = np.asarray(target)
    counts = target != ignore_index
    index = np.where(counts, target, 0)
    if index.size and (index.min() < 0 or index.max() >= classes):
        raise IndexError(f"target outside 0 .. {classes - 1}")
    return counts, index, np.ones(classes) if weight is None else real(weight)


def _column(weight: Array, ndim: int) -> Array:
    return weight.reshape(-1, *[1] * (ndim - 2))


@np.errstate(invalid="ignore", divide="ignore")
def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    log_probabilities: bool = False,
) -> Array:
    """logits (N, C, ...), target int32 (N, ...), weight (C) -> loss: (N, ...) for reduction "none", else ().

    The mean over no position at all is NaN.
    """
    logits = real(logits)
    classes = logits.shape[1]
    counts, index, weight = _prepare(target, weight, classes, ignore_index)
    log_p = logits if log_probabilities else log_softmax(logits, axis=1)
    of_target = np.take_along_axis(log_p, index[:, None], axis=1)[:, 0]
    loss = -(1 - label_smoothing) * weight[index] * of_target
    if label_smoothing:
        loss -= label_smoothing / classes * (_column(weight, logits.ndim) * log_p).sum(axis=1)
    loss = np.where(counts, loss, 0)
    if reduction == "none":
        return loss
    return np.asarray(loss.sum() / (weight[index] * counts).sum() if reduction == "mean" else loss.sum())


@np.errstate(invalid="ignore", divide="ignore")
def cross_entropy_grad(
    dloss: Array,
    logits: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    log_probabilities: bool = False,
) -> Array:
    """dloss like loss, and the inputs of `cross_entropy` -> gradient with respect to the logits (N, C, ...).

    If q[c] is the factor of -log p[c] in the loss, the gradient is p * sum(q) - q, with respect to log p just -q.
    """
    logits, dloss = real(logits), real(dloss)
    classes = logits.shape[1]
    counts, index, weight = _prepare(target, weight, classes, ignore_index)
    one_hot = np.moveaxis(np.eye(classes)[index], -1, 1)
    q = ((1 - label_smoothing) * one_hot + label_smoothing / classes) * _column(weight, logits.ndim)
    p = np.zeros(1) if log_probabilities else np.exp(log_softmax(logits, axis=1))
    factor = dloss / (weight[index] * counts).sum() if reduction == "mean" else dloss
    gradient = (p * q.sum(axis=1, keepdims=True) - q) * (factor[:, None] if reduction == "none" else factor)
    return np.where(counts[:, None], gradient, 0)
