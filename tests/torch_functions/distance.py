# SPDX-License-Identifier: BSD-3-Clause
"""Distances and similarities of vectors, and the products of pairs."""

import numpy as np

from torch_functions.draw import Array, Call, Draw, Generator


def pair(draw: Draw, low: int = 1, high: int = 3) -> tuple[Array, Array]:
    """Two arrays that can be broadcast, mostly of one shape; not where the draw is bad."""
    shape = draw.shape(low, high)
    other = shape
    if draw.bad:
        other = (*shape[:-1], shape[-1] + 2) if shape and shape[-1] > 1 else (*shape, 2, 3)
    elif draw.maybe(0.2) and shape:
        other = (1, *shape[1:]) if draw.maybe() else shape[1:]
    a, b = draw.normal(*shape), draw.normal(*other)
    if draw.maybe(0.1) and a.shape == b.shape and a.size:
        a[0] = b[0]
    return draw.strided(a), draw.strided(b)


def pairwise_distance(draw: Draw) -> Call:
    x1, x2 = pair(draw)
    order = draw.choice((2.0, 2.0, 1.0, 0.0, 3.0, 2.5, float("inf"), 2))
    options = draw.some({"eps": lambda: draw.choice((1e-6, 0.01)), "keepdim": draw.maybe})
    if draw.maybe(0.2):
        return Call((x1, x2), options, gradients=(0, 1))
    return Call((x1, x2, order), options, gradients=(0, 1), tolerance=1e-9 if draw.dtype == np.float64 else None)


def cosine_similarity(draw: Draw) -> Call:
    x1, x2 = pair(draw, 2, 4)
    dim = draw.integer(-min(x1.ndim, x2.ndim), min(x1.ndim, x2.ndim) - 1)
    if draw.bad and draw.maybe():
        dim = 7
    if draw.maybe(0.2):
        return Call((x1, x2), gradients=(0, 1))
    return Call((x1, x2, dim), draw.some({"eps": lambda: draw.choice((1e-8, 0.5, 2.0))}), gradients=(0, 1))


def pdist(draw: Draw) -> Call:
    shape = (draw.choice((1, 2, 3, 5, 9)), draw.size(9))
    x = draw.normal(*((*shape, 2) if draw.bad and draw.maybe() else shape))
    order = -1.0 if draw.bad and x.ndim == 2 else draw.choice((2.0, 1.0, 0.0, 3.0, 1.5, float("inf")))
    return Call((x,) if order == 2.0 and draw.maybe() else (x, order), gradients=(0,))


FUNCTIONS: dict[str, Generator] = {
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": pairwise_distance,
    "pdist": pdist,
}
