# SPDX-License-Identifier: BSD-3-Clause
"""Activations with random numbers in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._draw import seed_of, uniform_like
from cnnkern.functional._lowering import around
from cnnkern.functional.activation import leaky_relu, softmax
from cnnkern.functional.elementwise import PRELU, add, log, negative, scaled
from cnnkern.functional.pool import max_pool2d, max_pool2d_grad
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import apply, override_gradient


def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    seed: int | None = None,
) -> Any:
    """x where x > 0, else a * x with a random slope lower <= a < upper for each element (Xu et al., 2015).

    training=False: the slope is (lower + upper) / 2. seed as for `dropout`. inplace=True is refused.
    """
    check.floating("rrelu", input=input)
    check.not_in_place("rrelu", inplace)
    seed = seed_of("rrelu", seed)
    low, high = check.finite("rrelu", "lower", lower), check.finite("rrelu", "upper", upper)
    if low > high:
        raise ValueError(f"rrelu: lower must not be above upper, found {low} and {high}")
    if not check.boolean("rrelu", "training", training):
        return leaky_relu(input, (low + high) / 2)
    return apply(PRELU, (input, scaled(uniform_like(input, seed), high - low, low)), {})[0]


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, seed: int | None = None
) -> Any:
    """softmax((logits + g) / tau) along axis `dim`, g from the Gumbel distribution (Jang et al., 2017).

    hard=True: 1 at the largest and 0 elsewhere, with the gradient of the soft result. eps has no effect, as in PyTorch.
    seed as for `dropout`.
    """
    check.floating("gumbel_softmax", logits=logits)
    seed = seed_of("gumbel_softmax", seed)
    heat, hard = check.finite("gumbel_softmax", "tau", tau), check.boolean("gumbel_softmax", "hard", hard)
    check.number("gumbel_softmax", "eps", eps)
    axis = check.axis("gumbel_softmax", "dim", dim, len(logits.shape))
    if heat == 0.0:
        raise ValueError("gumbel_softmax: tau must not be 0")
    if hard and logits.shape and not logits.shape[axis]:
        raise ValueError(f"gumbel_softmax: axis {axis} must not be empty where hard=True, found {logits.shape}")
    inside = scaled(uniform_like(logits, seed), 1 - 2.0**-23, 2.0**-24)  # neither 0 nor 1, in float32
    noise = negative(log(negative(log(inside))))
    soft = softmax(scaled(add(logits, noise), 1 / heat), axis)
    return override_gradient(_largest(soft, axis), soft, lambda: np.ones(soft.shape, soft.dtype)) if hard else soft


def _largest(x: Any, axis: int) -> Any:
    """1 at the first maximum along an axis, else 0."""
    if not x.shape or 0 in x.shape:
        return scaled(x, 0.0, 1.0)
    outer, size, inner = around(x.shape, axis)
    top, indices = max_pool2d(reshape_to(x, (outer, 1, size, inner)), (size, 1), 1, return_indices=True)
    ones = np.ones(top.shape, x.dtype)
    return reshape_to(max_pool2d_grad(ones, indices, (outer, 1, size, inner), (size, 1), 1), x.shape)
