# SPDX-License-Identifier: BSD-3-Clause
"""Activations, softmax and its relatives, and functions of one element that PyTorch has outside nn.functional."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator, autograd

KINKS = (-6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0)


def values(draw: Draw, scale: float = 3.0, kinks: Sequence[float] = KINKS) -> Array:
    """Numbers of all sizes; sometimes only those where a formula changes, or far away."""
    shape = draw.shape(0, 6, 7)
    if draw.maybe(0.2):
        return draw.pick(kinks, *shape)
    return draw.strided(draw.normal(*shape, scale=draw.choice((0.01, 1.0, scale, 10 * scale))))


def special(draw: Draw, x: Array, others: Sequence[float]) -> Array:
    x = np.array(x)
    x[draw.rng.random(x.shape) < 0.3] = draw.choice(others)
    return x


def unary(
    options: Callable[[Draw], dict[str, Any]] = lambda draw: {},
    kinks: Sequence[float] = KINKS,
    infinite: bool = True,
    tolerance: float | None = None,
    inplace: bool = True,
) -> Generator:
    """options: further arguments by name, in order; given by position or by name."""

    def generator(draw: Draw) -> Call:
        x = values(draw, kinks=kinks)
        given = options(draw)
        count = draw.integer(0, len(given))
        positional = tuple(list(given.values())[:count])
        named = dict(list(given.items())[count:])
        if inplace and draw.maybe(0.2):
            named["inplace"] = False
        if draw.maybe(0.15):
            others = (np.nan, np.inf, -np.inf) if infinite else (np.nan,)
            return Call((special(draw, x, others), *positional), named, tolerance=tolerance)
        return Call((x, *positional), named, tolerance=tolerance, gradients=(0,))

    return generator


def _hardtanh(draw: Draw) -> dict[str, Any]:
    low = draw.choice((-1.0, -0.5, -6.0))
    high = draw.choice((-0.5, 0.0, 1.0, 6.0))
    if draw.bad:
        low, high = high + 1.0, high
    return {"min_val": min(low, high) if not draw.bad else low, "max_val": high}


def _celu(draw: Draw) -> dict[str, Any]:
    return {"alpha": 0.0 if draw.bad else draw.choice((1.0, 0.5, 2, 0.3, -1.0))}


def _gelu(draw: Draw) -> Call:
    x = values(draw)
    approximate = draw.choice(("none", "tanh"))
    kwargs = {"approximate": "exact" if draw.bad else approximate} if draw.bad or draw.maybe(0.7) else {}
    if draw.maybe(0.1):
        return Call((special(draw, x, (np.nan, -np.inf)),), kwargs)
    return Call((x,), kwargs, gradients=(0,))


def _softplus(draw: Draw) -> dict[str, Any]:
    return {"beta": draw.choice((1, 0.5, 2.0, 3.5)), "threshold": draw.choice((20, 1.0, 5.0, 0.0))}


def _prelu(draw: Draw) -> Call:
    x = values(draw)
    channels = x.shape[1] if x.ndim > 1 else 1
    shape = draw.choice(((), (1,), (channels,), (channels,)))
    if draw.bad:
        shape = draw.choice(((channels + 1,), (1, 1), (channels + 2,)))
    return Call((x, draw.normal(*shape)), gradients=(0, 1))


def _rrelu(draw: Draw) -> Call:
    x = values(draw)
    low = draw.choice((1 / 8, 0.0, -0.3))
    high = draw.choice((1 / 3, 0.9)) - (2.0 if draw.bad else 0.0)
    if draw.maybe() and not draw.bad:
        return Call((x, low, high, True), statistical=lambda got, want: _random_slopes(x, low, high, got))
    return Call((x, low, high), {"training": False} if draw.maybe() else {}, gradients=(0,))


def _random_slopes(x: Array, low: float, high: float, got: Array) -> None:
    """Every slope of a negative number lies between low and high, and all of them in the middle on average."""
    assert got.dtype == x.dtype and got.shape == x.shape
    above, below = x > 0, x < 0
    assert np.array_equal(got[above], x[above])
    slopes = (got[below] / x[below]).astype(np.float64)
    if slopes.size:
        assert slopes.min() >= low - 1e-5 and slopes.max() <= high + 1e-5
        deviation = (high - low) / np.sqrt(12 * slopes.size)
        assert abs(slopes.mean() - (low + high) / 2) <= 6 * deviation + 1e-5


def _glu(draw: Draw) -> Call:
    shape = list(draw.shape(1, 5, 7))
    axis = draw.integer(0, len(shape) - 1)
    shape[axis] = 2 * shape[axis] + (1 if draw.bad else 0)
    dim = axis - len(shape) if draw.maybe() else axis
    x = draw.strided(draw.normal(*shape, scale=3.0))
    if axis == len(shape) - 1 and draw.maybe():
        return Call((x,), gradients=(0,))
    return Call((x, dim), gradients=(0,))


def _along(draw: Draw) -> tuple[Array, int]:
    shape = draw.shape(0, 5)
    rank = max(len(shape), 1)
    x = draw.strided(draw.normal(*shape, scale=draw.choice((1.0, 5.0, 30.0))))
    return x, draw.choice((rank, -rank - 1)) if draw.bad else draw.integer(-rank, rank - 1)


def _softmax(draw: Draw) -> Call:
    x, dim = _along(draw)
    if draw.maybe(0.1) and x.ndim and not draw.bad:
        return Call((x,), gradients=(0,))  # PyTorch chooses an axis
    return Call((x, dim), gradients=(0,)) if draw.maybe() else Call((x,), {"dim": dim}, gradients=(0,))


def _gumbel_softmax(draw: Draw) -> Call:
    x, dim = _along(draw)
    hard = draw.maybe()
    kwargs = {"tau": draw.choice((1, 0.5, 2.0)), "hard": hard, "dim": dim}

    def check(got: Array, want: Any) -> None:
        assert got.dtype == x.dtype and got.shape == x.shape
        axis = dim % max(x.ndim, 1)
        if x.ndim and x.size:
            np.testing.assert_allclose(got.sum(axis), np.ones(got.sum(axis).shape), rtol=1e-5)
        assert (got >= 0).all()
        if hard:
            assert np.isin(got, (0, 1)).all()

    return Call((x,), kwargs, statistical=check)


def _threshold(draw: Draw) -> dict[str, Any]:
    return {"threshold": draw.choice((0.0, -1.0, 0.5, 3)), "value": draw.choice((0.0, 20, -1.5))}


def _backward(draw: Draw, x: Array, **options: Any) -> Call:
    x = np.asarray(x)
    return Call((draw.normal(*(draw.broken(x.shape) if draw.bad else x.shape)), x), options)


def _plain_grad(draw: Draw) -> Call:
    return _backward(draw, values(draw))


def _shrink_grad(draw: Draw) -> Call:
    return _backward(draw, values(draw), lambd=draw.choice((0.5, 1.0, 0.0)))


def _softmax_grad(draw: Draw) -> Call:
    x, dim = _along(draw)
    return _backward(draw, np.abs(x) / (1 + np.abs(x)), dim=0 if draw.bad else dim)


def _pow(draw: Draw) -> Call:
    exponent = draw.choice((0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.7, -1.3, 1 / 3, 5, -4, 7.0))
    x = np.asarray(draw.uniform(0.1, 4, *draw.shape(0, 6, 7)))
    if float(exponent).is_integer() and draw.maybe():
        x = np.asarray(x * draw.rng.choice((-1, 1), x.shape)).astype(draw.dtype)
    if draw.maybe(0.2):
        others = (np.nan, np.inf, 0.0) if exponent in (0.5, -0.5) else (np.nan, np.inf, -np.inf, 0.0, -0.0, -2.0)
        return Call((special(draw, x, others), exponent))
    return Call((x, exponent), gradients=(0,))


def _pair(draw: Draw) -> Call:
    shape = draw.shape(0, 5, 7)
    other = tuple(1 if draw.maybe(0.3) else size for size in shape[draw.integer(0, len(shape)) :])
    if draw.bad:
        shape, other = (3, *shape), (2, *shape)
    a, b = (draw.pick(KINKS, *s) if draw.maybe(0.3) else draw.strided(draw.normal(*s)) for s in (shape, other))
    if draw.maybe(0.15):
        return Call((special(draw, a, (np.nan, np.inf)), special(draw, b, (np.nan, -np.inf))))
    return Call((a, b) if draw.maybe() else (b, a), gradients=(0, 1))


def _positive(draw: Draw) -> Call:
    x = draw.uniform(0.05, 4, *draw.shape(0, 6, 7))
    return Call((special(draw, x, (0.0, np.inf, np.nan)),)) if draw.maybe(0.15) else Call((x,), gradients=(0,))


FUNCTIONS: dict[str, Generator] = {
    **dict.fromkeys(("relu", "relu6", "silu", "mish", "hardswish", "selu"), unary()),
    # PyTorch's own slope of hardsigmoid is 1 / 6 in float32
    "hardsigmoid": unary(tolerance=1e-6),
    **dict.fromkeys(("sigmoid", "tanh", "softsign", "tanhshrink", "logsigmoid", "abs"), unary(inplace=False)),
    "leaky_relu": unary(lambda draw: {"negative_slope": draw.choice((0.01, 0.2, 0.0, -0.5, 2))}),
    "hardtanh": unary(_hardtanh),
    "elu": unary(lambda draw: {"alpha": draw.choice((1.0, 0.5, 2, -0.5))}),
    "celu": unary(_celu, tolerance=1e-6),  # 1 / alpha too
    "gelu": _gelu,
    "softplus": unary(_softplus, inplace=False),
    "hardshrink": unary(lambda draw: {"lambd": draw.choice((0.5, 1, 0.0, -1.0))}, inplace=False),
    "softshrink": unary(lambda draw: {"lambd": -0.5 if draw.bad else draw.choice((0.5, 1, 0.0))}, inplace=False),
    "threshold": unary(_threshold),
    "prelu": _prelu,
    "rrelu": _rrelu,
    "glu": _glu,
    **dict.fromkeys(("softmax", "softmin", "log_softmax"), _softmax),
    "gumbel_softmax": _gumbel_softmax,
    "relu_grad": lambda draw: _backward(draw, values(draw)),
    "leaky_relu_grad": lambda draw: _backward(draw, values(draw), negative_slope=draw.choice((0.01, 0.3))),
    "hardtanh_grad": lambda draw: _backward(draw, values(draw), min_val=-0.5, max_val=draw.choice((0.5, 3.0))),
    **dict.fromkeys(("silu_grad", "mish_grad", "selu_grad", "hardswish_grad", "logsigmoid_grad"), _plain_grad),
    "softsign_grad": _plain_grad,
    "hardsigmoid_grad": lambda draw: replace(_plain_grad(draw), tolerance=1e-6),
    "gelu_grad": lambda draw: _backward(draw, values(draw), approximate=draw.choice(("none", "tanh"))),
    "elu_grad": lambda draw: _backward(draw, values(draw), alpha=draw.choice((1.0, 0.5, 2))),
    "celu_grad": lambda draw: replace(_backward(draw, values(draw), alpha=draw.choice((1.0, 0.5, 2))), tolerance=1e-6),
    "softplus_grad": lambda draw: _backward(draw, values(draw), beta=draw.choice((1.0, 2)), threshold=5.0),
    **dict.fromkeys(("hardshrink_grad", "softshrink_grad"), _shrink_grad),
    "sigmoid_grad": lambda draw: _backward(draw, draw.uniform(0, 1, *draw.shape(0, 6, 7))),
    "tanh_grad": lambda draw: _backward(draw, draw.uniform(-1, 1, *draw.shape(0, 6, 7))),
    **dict.fromkeys(("softmax_grad", "log_softmax_grad"), _softmax_grad),
    "pow": _pow,
    "reciprocal": lambda draw: Call((values(draw, kinks=(1.0, -2.0, 0.5)),)),
    "rsqrt": _positive,
    **dict.fromkeys(("maximum", "minimum"), _pair),
}


def _same(dy: Any, y: Any) -> None:
    if dy.shape != y.shape:
        raise ValueError("shapes differ")


def _sigmoid_grad(dy: Any, y: Any) -> Any:
    _same(dy, y)
    return dy * y * (1 - y)


def _tanh_grad(dy: Any, y: Any) -> Any:
    _same(dy, y)
    return dy * (1 - y * y)


def _softmax_backward(torch: Any, log: bool) -> Callable[..., Any]:
    def gradient(dy: Any, y: Any, dim: int) -> Any:
        _same(dy, y)
        if log:
            return dy - y.exp() * dy.sum(dim, keepdim=True)
        return y * (dy - (dy * y).sum(dim, keepdim=True))

    return gradient


def _autograd(name: str) -> Counterpart:
    return autograd(lambda torch, x, **options: getattr(torch.nn.functional, name)(x, **options))


_DIFFERENTIATED = (
    *("relu", "leaky_relu", "hardtanh", "silu", "gelu", "mish", "elu", "selu", "celu", "softplus", "logsigmoid"),
    *("softsign", "hardswish", "hardsigmoid", "hardshrink", "softshrink"),
)

OWN: dict[str, Counterpart] = {
    **{
        name: lambda torch, name=name: getattr(torch, name)  # type: ignore[misc]
        for name in ("abs", "pow", "reciprocal", "rsqrt", "maximum", "minimum")
    },
    **{f"{name}_grad": _autograd(name) for name in _DIFFERENTIATED},
    "sigmoid_grad": lambda torch: _sigmoid_grad,
    "tanh_grad": lambda torch: _tanh_grad,
    "softmax_grad": lambda torch: _softmax_backward(torch, False),
    "log_softmax_grad": lambda torch: _softmax_backward(torch, True),
}
