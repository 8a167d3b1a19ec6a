# SPDX-License-Identifier: BSD-3-Clause
"""Activations made of straight pieces, beyond those of `activation`. NaN stays NaN unless said otherwise."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.elementwise import PRELU, scaled, unary
from cnnkern.functional.shape import per_channel, reshape_to
from cnnkern.graph import OPS, Attrs, apply, product


def _hardswish_curvature(x: Any, attrs: Attrs) -> Any:
    third = scaled(x, 0.0, 1.0 / 3.0)
    return apply(OPS["clamp_grad"], (third, x), {"low": -3.0, "high": 3.0})[0]


HARDSWISH = unary("hardswish", second=_hardswish_curvature)
HARDSIGMOID = unary("hardsigmoid")
HARDSHRINK = unary("hardshrink", parameters=("alpha",))
SOFTSHRINK = unary("softshrink", parameters=("alpha",))
THRESHOLD = unary("threshold", parameters=("alpha", "beta"))


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). The slope is 0 at -3 and 1 at 3. inplace=True is refused."""
    check.floating("hardswish", input=input)
    check.not_in_place("hardswish", inplace)
    return apply(HARDSWISH, (input,), {})[0]


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). The slope at -3 and 3 is 0. inplace=True is refused."""
    check.floating("hardsigmoid", input=input)
    check.not_in_place("hardsigmoid", inplace)
    return apply(HARDSIGMOID, (input,), {})[0]


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 where |x| <= lambd, else x."""
    check.floating("hardshrink", input=input)
    return apply(HARDSHRINK, (input,), {"alpha": check.number("hardshrink", "lambd", lambd)})[0]


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 where |x| <= lambd, else x moved towards 0 by lambd (at least 0)."""
    check.floating("softshrink", input=input)
    return apply(SOFTSHRINK, (input,), {"alpha": check.finite("softshrink", "lambd", lambd, 0.0)})[0]


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else `value`. inplace=True is refused."""
    check.floating("threshold", input=input)
    check.not_in_place("threshold", inplace)
    level, other = check.number("threshold", "threshold", threshold), check.number("threshold", "value", value)
    return apply(THRESHOLD, (input,), {"alpha": level, "beta": other})[0]


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight * x (He et al., 2015).

    weight: (1,), one number for all, or (C,), one for each channel. The channels are axis 1; an input of one axis has
    one channel. The slope at 0 is the weight.
    """
    check.floating("prelu", input=input, weight=weight)
    shape = input.shape
    channels = shape[1] if len(shape) > 1 else 1
    if len(weight.shape) > 1 or product(weight.shape) not in (1, channels):
        raise ValueError(f"prelu: weight must have shape (1,) or ({channels},), found {weight.shape} (input: {shape})")
    if len(shape) < 2:
        return apply(PRELU, (input, reshape_to(weight, (1,) * len(shape))), {})[0]
    column = reshape_to(weight, (1, product(weight.shape), *[1] * (len(shape) - 2)))
    return apply(PRELU, (input, per_channel(column, input)), {})[0]
