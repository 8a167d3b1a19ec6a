# SPDX-License-Identifier: BSD-3-Clause
"""Matrix products, arithmetic on elements, and operations that only give arrays another shape."""

from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator


def linear(draw: Draw) -> Call:
    inputs, outputs = draw.size(), draw.size()
    x = draw.strided(draw.normal(*draw.shape(0, 3), inputs))
    w = draw.strided(draw.normal(outputs, inputs + (1 if draw.bad else 0)))
    if draw.maybe():
        return Call((x, w, draw.normal(outputs)), gradients=(0, 1, 2))
    return Call((x, w, None), gradients=(0, 1))


def bilinear(draw: Draw) -> Call:
    batch, one, other, outputs = draw.shape(0, 3, 5), draw.size(9), draw.size(9), draw.size(9)
    apart = draw.broken(batch) if draw.bad and draw.maybe() else batch
    x1, x2 = draw.normal(*batch, one + (1 if draw.bad and draw.maybe() else 0)), draw.normal(*apart, other)
    weight = draw.normal(outputs, one, other)
    bias = (draw.normal(outputs + (2 if draw.bad and draw.maybe() else 0)),) if draw.maybe() else ()
    return Call((x1, x2, weight, *bias), gradients=(0, 1, 2, 3)[: 3 + len(bias)])


def matmul(draw: Draw) -> Call:
    rows, inner, columns = draw.batch(17), draw.size(), draw.size()
    a, b = draw.normal(rows, inner), draw.normal(inner + (1 if draw.bad else 0), columns)
    return Call((draw.strided(a), draw.strided(b)), gradients=(0, 1))


def linear_grad_input(draw: Draw) -> Call:
    inputs, outputs = draw.size(), draw.size()
    return Call((draw.normal(outputs, inputs), draw.normal(*draw.shape(0, 3), outputs + (1 if draw.bad else 0))))


def linear_grad_weight(draw: Draw) -> Call:
    rows = draw.shape(1, 3)
    other = draw.broken(rows) if draw.bad else rows
    return Call((draw.normal(*rows, draw.size()), draw.normal(*other, draw.size())))


def linear_grad_bias(draw: Draw) -> Call:
    return Call((draw.normal(*draw.shape(1, 3), draw.size()),))


def _broadcastable(draw: Draw, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that can be broadcast with this one."""
    kept = shape[draw.integer(0, len(shape)) :] if draw.maybe(0.4) else shape
    return tuple(1 if draw.maybe(0.3) else size for size in kept)


def _binary(draw: Draw) -> Call:
    shape = draw.shape(0, 5, 7)
    one, other = shape, _broadcastable(draw, shape)
    if draw.bad and shape:
        one, other = (3, *shape), (2, *shape)
    if draw.maybe():
        one, other = other, one
    if draw.maybe(0.2):
        return Call((draw.normal(*one), draw.number(-3, 3)), gradients=(0,))
    a, b = draw.strided(draw.normal(*one)), draw.strided(draw.normal(*other))
    if draw.maybe(0.1) and a.ndim and a.size:
        a[..., 0], b[...] = np.inf, np.where(b > 1, 0, b)
        return Call((a, b))
    b = np.asarray(np.copysign(np.abs(b) + 0.1, b))  # away from 0, for division
    return Call((a, b), gradients=(0, 1))


def _unary(low: float, high: float) -> Generator:
    def generator(draw: Draw) -> Call:
        x = draw.uniform(low, high, *draw.shape(0, 6, 7))
        if draw.maybe(0.15):
            special = draw.choice((0, -1, np.inf, np.nan))
            return Call((np.where(draw.rng.random(x.shape) < 0.3, special, x).astype(x.dtype),))
        return Call((draw.strided(x),), gradients=(0,))

    return generator


def concat(draw: Draw) -> Call:
    shape = [draw.batch(), *draw.shape(1, 4, 17)] if not draw.maybe(0.1) else [draw.size()]
    axis = draw.integer(0, len(shape) - 1)
    parts: list[Array] = []
    for index in range(draw.integer(1, 4)):
        shape[axis] = draw.choice((0, draw.size(), draw.size())) if len(shape) > 1 else draw.size()
        other = (*shape, 2) if draw.bad and index == 1 else tuple(shape)
        parts.append(draw.strided(draw.normal(*other)))
    dim = len(shape) if draw.bad and len(parts) == 1 else draw.choice((axis, axis - len(shape)))
    return Call((tuple(parts) if draw.maybe() else parts, dim))


def flatten(draw: Draw) -> Call:
    shape = draw.shape(0, 5)
    rank = max(len(shape), 1)
    start = draw.integer(0, rank - 1)
    end = draw.integer(0 if draw.bad else start, rank - 1) + (1 if draw.bad and draw.maybe() else 0)
    dims = (start - rank if draw.maybe() else start, end - rank if draw.maybe() else end)
    return Call((draw.strided(draw.normal(*shape)), *dims[: draw.integer(0, 2)]), gradients=(0,))


def reshape(draw: Draw) -> Call:
    shape = draw.shape(0, 4)
    total = int(np.prod(shape))
    sizes: list[int] = []
    left = total
    for _ in range(draw.integer(0, 3)):
        fitting = [size for size in range(1, 18) if left and left % size == 0] or [left]
        sizes.append(draw.choice(fitting))
        left = left // sizes[-1] if sizes[-1] else 0
    sizes.append(left)
    if draw.maybe() and 0 not in sizes:
        sizes[draw.integer(0, len(sizes) - 1)] = -1
    if draw.bad:
        sizes[0] = draw.choice((-1, total + 1, -2))
        sizes.append(-1)
    return Call((draw.strided(draw.normal(*shape)), tuple(sizes)), gradients=(0,))


_POSITIVE, _ANY = _unary(0.05, 4), _unary(-4, 4)

FUNCTIONS: dict[str, Generator] = {
    "bilinear": bilinear,
    "linear": linear,
    "linear_grad_bias": linear_grad_bias,
    "linear_grad_input": linear_grad_input,
    "linear_grad_weight": linear_grad_weight,
    "matmul": matmul,
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), _binary),
    **dict.fromkeys(("negative", "exp", "square"), _ANY),
    **dict.fromkeys(("log", "sqrt"), _POSITIVE),
    "concat": concat,
    "flatten": flatten,
    "reshape": reshape,
}


def _grad_weight(torch: Any, x: Any, dy: Any) -> Any:
    if x.shape[:-1] != dy.shape[:-1]:
        raise ValueError("shapes differ")
    return dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])


OWN: dict[str, Counterpart] = {
    "matmul": lambda torch: torch.mm,
    "linear_grad_bias": lambda torch: lambda dy: dy.sum(tuple(range(dy.ndim - 1))) if dy.ndim > 1 else dy,
    "linear_grad_input": lambda torch: lambda weight, dy: dy @ weight,
    "linear_grad_weight": lambda torch: lambda x, dy: _grad_weight(torch, x, dy),
    **{
        name: lambda torch, name=name: getattr(torch, name)  # type: ignore[misc]
        for name in (
            *("add", "subtract", "multiply", "divide", "negative", "exp", "log", "sqrt", "square"),
            *("concat", "flatten", "reshape"),
        )
    },
}
