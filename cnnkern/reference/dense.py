# SPDX-License-Identifier: BSD-3-Clause
"""Matrix product: the fully connected layer and its gradients."""

import numpy as np

from ._array import Array, exact
from .activation import activate


@np.errstate(invalid="ignore", over="ignore")
def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "none",
    slope: float = 0.01,
    low: float = 0.0,
    high: float = 0.0,
) -> Array:
    """a (M, K), b (K, N), bias (N) -> y (M, N) = activation(a b + bias).

    With `transpose_a` a is given as (K, M), with `transpose_b` b as (N, K).
    """
    a, b = exact(a), exact(b)
    y = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    if bias is not None:
        y = y + exact(bias)
    return activate(y, activation, slope, low, high)
