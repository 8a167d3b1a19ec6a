# SPDX-License-Identifier: BSD-3-Clause
"""Initial values of parameters.

Every function returns a new float32 array of the given shape. Weights are (outputs, inputs / groups, *kernel):
fan_in = inputs / groups * kernel size, fan_out = outputs * kernel size. `rng` is a `numpy.random.Generator`, a seed, or
None for the default one (`cnnkern.manual_seed`).
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union

import numpy as np
import numpy.typing as npt

from cnnkern import _random
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module, require_module

Array = npt.NDArray[np.float32]
Rng = Union["np.random.Generator", int, None]
Distribution = Literal["normal", "uniform"]

_current: contextvars.ContextVar[np.random.Generator | None] = contextvars.ContextVar("cnnkern_rng", default=None)
_skip: contextvars.ContextVar[bool] = contextvars.ContextVar("cnnkern_skip_initialization", default=False)


def generator(rng: Rng = None) -> np.random.Generator:
    """`rng` itself, a generator of that seed, or the default generator."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is not None:
        return np.random.default_rng(_checked(rng))
    return _current.get() or _random.generator()


@contextlib.contextmanager
def seeded(rng: Rng) -> Iterator[None]:
    """Inside the block `rng` is the default generator; None changes nothing."""
    token = _current.set(generator(rng))
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """Inside the block parameters start at zero, without drawing: for models whose weights are loaded afterwards."""
    token = _skip.set(True)
    try:
        yield
    finally:
        _skip.reset(token)


def skipping() -> bool:
    """Whether `skipped` is in force."""
    return _skip.get()


def _checked(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an int or a numpy.random.Generator, found {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed: expected a non-negative int, found {seed}")
    return int(seed)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of this shape, of at least two axes."""
    if len(shape) < 2:
        raise ValueError(f"fans: expected a weight of at least two axes, found shape {tuple(shape)}")
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def constant(shape: tuple[int, ...], value: float) -> Array:
    """`value` everywhere."""
    return np.full(_shape("constant", shape), check.number("constant", "value", value), np.float32)


def zeros(shape: tuple[int, ...], rng: Rng = None) -> Array:
    """Zero everywhere. As weights it leaves the units of a layer identical for ever: fit for biases only."""
    return np.zeros(_shape("zeros", shape), np.float32)


def ones(shape: tuple[int, ...], rng: Rng = None) -> Array:
    """One everywhere."""
    return np.ones(_shape("ones", shape), np.float32)


def normal(shape: tuple[int, ...], std: float = 0.01, mean: float = 0.0, rng: Rng = None) -> Array:
    """Independent normal values."""
    size = _shape("normal", shape)
    scale, offset = check.finite("normal", "std", std, 0.0), check.finite("normal", "mean", mean)
    if _skip.get():
        return zeros(size)
    values = generator(rng).standard_normal(size, dtype=np.float32)
    return np.asarray(values * np.float32(scale) + np.float32(offset))


def truncated_normal(shape: tuple[int, ...], std: float = 0.01, cut: float = 2.0, rng: Rng = None) -> Array:
    """Independent normal values of mean 0 and deviation `std`, drawn again where they exceed `cut` deviations."""
    size, limit = _shape("truncated_normal", shape), check.finite("truncated_normal", "cut", cut, 1e-3)
    if _skip.get():
        return zeros(size)
    source = generator(rng)
    values = normal(size, 1.0, rng=source).ravel()
    beyond = np.flatnonzero(np.abs(values) > limit)
    while beyond.size:
        values[beyond] = source.standard_normal(beyond.size, dtype=np.float32)
        beyond = beyond[np.abs(values[beyond]) > limit]
    return np.asarray(values * np.float32(check.finite("truncated_normal", "std", std, 0.0))).reshape(size)


def uniform(shape: tuple[int, ...], low: float = -0.05, high: float = 0.05, rng: Rng = None) -> Array:
    """Independent values, uniform in [low, high)."""
    size = _shape("uniform", shape)
    first, last = check.finite("uniform", "low", low), check.finite("uniform", "high", high)
    if _skip.get():
        return zeros(size)
    return np.asarray(generator(rng).random(size, dtype=np.float32) * np.float32(last - first) + np.float32(first))


def _shape(function: str, shape: Any) -> tuple[int, ...]:
    return check.shape(function, "shape", shape)


def _scaled(shape: tuple[int, ...], variance: float, distribution: Distribution, rng: Rng) -> Array:
    if distribution == "normal":
        return normal(shape, math.sqrt(variance), rng=rng)
    if distribution == "uniform":
        bound = math.sqrt(3.0 * variance)
        return uniform(shape, -bound, bound, rng)
    raise ValueError(f'distribution: expected "normal" or "uniform", found {distribution!r}')


def xavier(
    shape: tuple[int, ...], rng: Rng = None, *, normalized: bool = True, distribution: Distribution = "uniform"
) -> Array:
    """Glorot and Bengio (2010): variance 2 / (fan_in + fan_out), or 1 / fan_in if not `normalized`."""
    fan_in, fan_out = _positive_fans("xavier", shape)
    normalized = check.boolean("xavier", "normalized", normalized)
    return _scaled(shape, 2.0 / (fan_in + fan_out) if normalized else 1.0 / fan_in, distribution, rng)


def he(
    shape: tuple[int, ...],
    rng: Rng = None,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    slope: float = 0.0,
    distribution: Distribution = "normal",
) -> Array:
    """He et al. (2015): variance 2 / ((1 + slope^2) fan), for ReLU or a leaky ReLU of that slope."""
    fan = _positive_fans("he", shape)[check.choice("he", "mode", mode, ("fan_in", "fan_out")) == "fan_out"]
    slope = check.finite("he", "slope", slope)
    return _scaled(shape, 2.0 / ((1.0 + slope**2) * fan), distribution, rng)


def _positive_fans(function: str, shape: tuple[int, ...]) -> tuple[int, int]:
    fan_in, fan_out = fans(_shape(function, shape))
    if not fan_in or not fan_out:
        raise ValueError(f"{function}: shape must not have empty axes, found {tuple(shape)}")
    return fan_in, fan_out


kaiming = he


def orthogonal(shape: tuple[int, ...], rng: Rng = None, *, gain: float = 1.0) -> Array:
    """Saxe, McClelland and Ganguli (2014): as a matrix (outputs, the rest), orthonormal times `gain`.

    Its rows are where there are fewer of them than columns, else its columns. All such matrices are equally likely.
    """
    _positive_fans("orthogonal", shape)
    size = _shape("orthogonal", shape)
    rows, columns = size[0], math.prod(size[1:])
    factor = check.finite("orthogonal", "gain", gain)
    if _skip.get():
        return zeros(size)
    drawn = generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # without it the distribution depends on LAPACK's signs
    return np.ascontiguousarray((q if rows >= columns else q.T) * factor, np.float32).reshape(size)


def fan_in_uniform(shape: tuple[int, ...], fan_in: int, rng: Rng = None) -> Array:
    """Uniform within 1 / sqrt(fan_in): PyTorch's default for weights and biases of convolutions and linear layers."""
    bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return uniform(shape, -bound, bound, rng)


def initialize(model: Module, method: Callable[..., Array], rng: Rng = None) -> None:
    """Fill the weights (parameters of two or more axes) of a model by `method(shape, rng)`, set its biases to zero.

    Scale and shift of normalizations keep their values.
    """
    source = generator(rng)
    if not callable(method):
        raise TypeError(f"initialize: method must be a function (shape, rng), found {type(method).__name__}")
    for module in require_module("initialize", model).modules():
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        if weight is not None and weight.ndim >= 2:
            weight[...] = method(weight.shape, rng=source)
            if bias is not None:
                bias[...] = 0.0
