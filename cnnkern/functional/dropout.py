# SPDX-License-Identifier: BSD-3-Clause
"""Dropout and its relatives, with random numbers that depend on seed, step, node and position alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._draw import drawn, seed_of
from cnnkern.functional._lowering import shape_of
from cnnkern.functional.elementwise import multiply, scaled
from cnnkern.functional.shape import per_channel
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _lower(node: Node) -> list[KernelCall]:
    (x, rng), (y,) = node.inputs, node.outputs
    return [KernelCall("dropout", node.attrs, [(x, shape_of(x)), (rng, (1, 2)), (y, shape_of(x))])]


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    return apply(DROPOUT, (dy, node.inputs[1]), node.attrs)[0], None


DROPOUT = define("dropout", _infer, gradient=_gradient, lower=_lower)


def _rate(function: str, p: Any, training: Any, inplace: Any) -> float:
    """Checks what all of them take; the probability, 0 where nothing is to be dropped."""
    check.not_in_place(function, inplace)
    rate = check.finite(function, "p", p, 0.0, 1.0)
    return rate if check.boolean(function, "training", training) else 0.0


def _dropped(input: Any, rate: float, seed: int | None, shape: Shape) -> Any:
    """Dropout of all elements that share a place of `shape` (1 along the axes that are dropped as one)."""
    if rate == 1.0:
        return scaled(input, 0.0)
    rng, node = drawn(input, seed)
    attrs = {"p": rate, "node": node}
    if shape == input.shape:
        return apply(DROPOUT, (input, rng), attrs)[0]
    mask = apply(DROPOUT, (np.ones(shape, input.dtype), rng), attrs)[0]
    return multiply(input, per_channel(mask, input))


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """Zero each element with probability p and scale the others by 1 / (1 - p) (Srivastava et al., 2014).

    training=False returns the input. seed (0 .. 2^32 - 1): the same seed gives the same mask; without it each call
    draws a new one, in a sequence that `cnnkern.manual_seed` begins again. In a traced model the mask is drawn anew in
    each step. inplace=True is refused.
    """
    check.floating("dropout", input=input)
    seed, rate = seed_of("dropout", seed), _rate("dropout", p, training, inplace)
    return _dropped(input, rate, seed, input.shape) if rate else input


def _channels(function: str, shape: Shape, kept: int) -> Shape:
    """The shape with 1 in place of everything but batch and channels, the first `kept` axes."""
    if len(shape) < kept:
        raise ValueError(f"{function}: input must have at least {kept} axes, found {shape}")
    return (*shape[:kept], *[1] * (len(shape) - kept))


def _warn_of_rank(function: str, shape: Shape, expected: str, taken: str) -> None:
    warnings.warn(
        f"{function}: input is expected to be {expected}, found {shape}; taken as {taken}, as PyTorch does",
        UserWarning,
        stacklevel=3,
    )


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """`dropout` of whole channels of (N, C, L) or (C, L) (Tompson et al., 2015)."""
    check.floating("dropout1d", input=input)
    seed, rate, rank = seed_of("dropout1d", seed), _rate("dropout1d", p, training, inplace), len(input.shape)
    if rank not in (2, 3):
        raise ValueError(f"dropout1d: input must have shape (N, C, L) or (C, L), found {input.shape}")
    return _dropped(input, rate, seed, _channels("dropout1d", input.shape, rank - 1)) if rate else input


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """`dropout` of whole channels of (N, C, H, W) (Tompson et al., 2015).

    As in PyTorch the first two axes are batch and channels whatever the rank, with a warning where it is not 4.
    """
    check.floating("dropout2d", input=input)
    seed, rate = seed_of("dropout2d", seed), _rate("dropout2d", p, training, inplace)
    if len(input.shape) != 4:
        _warn_of_rank("dropout2d", input.shape, "(N, C, H, W)", "(N, C, ...)")
    return _dropped(input, rate, seed, _channels("dropout2d", input.shape, 2)) if rate else input


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W) (Tompson et al., 2015).

    As in PyTorch inputs of other ranks are (C, ...), with a warning.
    """
    check.floating("dropout3d", input=input)
    seed, rate, rank = seed_of("dropout3d", seed), _rate("dropout3d", p, training, inplace), len(input.shape)
    if rank not in (4, 5):
        _warn_of_rank("dropout3d", input.shape, "(N, C, D, H, W) or (C, D, H, W)", "(C, ...)")
    return _dropped(input, rate, seed, _channels("dropout3d", input.shape, 2 if rank == 5 else 1)) if rate else input


_SELU_LOW = -1.7580993408473766  # what SELU is at -infinity


def _alpha_dropped(input: Any, rate: float, seed: int | None, shape: Shape) -> Any:
    """Elements become SELU's lowest value; then a and b bring mean 0 and variance 1 back."""
    if rate == 1.0:
        return scaled(input, 0.0)
    kept = _dropped(scaled(input, 1.0, -_SELU_LOW), rate, seed, shape)
    a = ((_SELU_LOW**2 * rate + 1) * (1 - rate)) ** -0.5
    return scaled(kept, a * (1 - rate), a * (1 - rate) * _SELU_LOW)


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """Dropout that keeps mean 0 and variance 1, for networks of SELU (Klambauer et al., 2017)."""
    check.floating("alpha_dropout", input=input)
    seed, rate = seed_of("alpha_dropout", seed), _rate("alpha_dropout", p, training, inplace)
    return _alpha_dropped(input, rate, seed, input.shape) if rate else input


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """`alpha_dropout` of whole channels (N, C, ...), at least two axes."""
    check.floating("feature_alpha_dropout", input=input)
    seed, rate = seed_of("feature_alpha_dropout", seed), _rate("feature_alpha_dropout", p, training, inplace)
    return _alpha_dropped(input, rate, seed, _channels("feature_alpha_dropout", input.shape, 2)) if rate else input


def stochastic_depth(input: Any, p: float, mode: str, training: bool = True, *, seed: int | None = None) -> Any:
    """Zero a whole residual branch with probability p, scale it by 1 / (1 - p) otherwise (Huang et al., 2016).

    mode: "row" decides for each image (axis 0) of its own, "batch" for all as one. seed as for `dropout`.
    """
    check.floating("stochastic_depth", input=input)
    check.choice("stochastic_depth", "mode", mode, ("batch", "row"))
    seed, rate = seed_of("stochastic_depth", seed), _rate("stochastic_depth", p, training, False)
    if not rate:
        return input
    rank = len(input.shape)
    if mode == "row" and rank == 0:
        raise ValueError("stochastic_depth: mode='row' needs an input with at least one axis, found shape ()")
    return _dropped(input, rate, seed, (input.shape[0], *[1] * (rank - 1)) if mode == "row" else (1,) * rank)
