# SPDX-License-Identifier: BSD-3-Clause
"""Resizing of maps: nearest neighbours, linear, cubic and area interpolation, axis after axis."""

from __future__ import annotations

import math
from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional._interpolation import axis_table
from cnnkern.functional.resample import resampled
from cnnkern.graph import Shape

_KINDS = {  # mode -> rule along an axis, spatial axes that the mode is for
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest-exact", (1, 2, 3)),
    "area": ("area", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)),
    "bicubic": ("cubic", (2,)),
    "lanczos": ("lanczos", (2,)),
}


def _per_axis(function: str, name: str, value: Any, axes: int) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        return (value,) * axes
    if len(value) != axes:
        raise ValueError(f"{function}: {name} must be one number or {axes}, found {value!r}")
    return tuple(value)


def _sizes(function: str, shape: Shape, size: Any, scale_factor: Any, low: int) -> tuple[tuple[int, ...], Any]:
    """The spatial sizes of the result, and the scale factors if they were given."""
    axes = len(shape) - 2
    if (size is None) == (scale_factor is None):
        found = "neither" if size is None else "both"
        raise ValueError(f"{function}: either size or scale_factor must be given, found {found}")
    if size is not None:
        given = _per_axis(function, "size", size, axes)
        return tuple(check.integer(function, "size", each, low) for each in given), None
    factors = tuple(
        check.finite(function, "scale_factor", each, 0.0)
        for each in _per_axis(function, "scale_factor", scale_factor, axes)
    )
    found_sizes = tuple(math.floor(n * factor) for n, factor in zip(shape[2:], factors, strict=True))
    if min(found_sizes) < low:
        raise ValueError(f"{function}: scale_factor {scale_factor} leaves nothing of shape {shape}")
    return found_sizes, factors


def _resized(input: Any, sizes: tuple[int, ...], factors: Any, rule: str, align_corners: bool, antialias: bool) -> Any:
    """Axis after axis: those that shrink first, from the outermost on, then those that grow, from the innermost on."""
    shape = input.shape
    axes = range(2, len(shape))
    shrinking = [axis for axis in axes if sizes[axis - 2] < shape[axis]]
    growing = [axis for axis in reversed(axes) if sizes[axis - 2] >= shape[axis]]
    for axis in (*shrinking, *growing):
        size, out = shape[axis], sizes[axis - 2]
        factor = None if factors is None else factors[axis - 2]
        if rule == "nearest" and len(shape) == 4 and out in (size, 2 * size):
            factor = None  # PyTorch keeps and doubles images exactly, whatever the factor; not signals and volumes
        if size == out and _keeps(rule, align_corners, factor, antialias):
            continue
        input = resampled(
            input, axis, axis_table(rule, size, out, len(shape) == 4, align_corners, factor, antialias, input.dtype)
        )
    return input


def _keeps(rule: str, align_corners: bool, factor: float | None, antialias: bool) -> bool:
    """Whether an axis of unchanged size stays as it is."""
    return antialias or align_corners or rule in ("linear", "area") or factor in (None, 1.0)


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Resize (N, C, W), (N, C, H, W) or (N, C, D, H, W) to `size`, or by `scale_factor` (one number or one per axis).

    mode: "nearest" (the place floor(i * scale)), "nearest-exact" (the nearest centre), "area" (means), "linear" (one
    spatial axis), "bilinear", "bicubic" (two; Keys, 1981, with a = -0.75), "lanczos" (two, with antialias), "trilinear"
    (three). align_corners, for linear and cubic modes, lets the outermost centres meet instead of the outermost edges.
    Interpolation uses scale_factor itself unless recompute_scale_factor asks for the ratio of the sizes. antialias
    (bilinear, bicubic, lanczos) widens the kernel where the result is smaller.

    Raises TypeError for wrong types, ValueError for a combination of arguments that PyTorch refuses.
    """
    return _interpolated(
        "interpolate", input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )


def _interpolated(
    function: str,
    input: Any,
    size: Any,
    scale_factor: Any,
    mode: Any,
    align_corners: Any,
    recompute: Any = None,
    antialias: Any = False,
) -> Any:
    check.floating(function, input=input)
    rule, wanted = _KINDS[check.choice(function, "mode", mode, tuple(_KINDS))]
    shape = input.shape
    if len(shape) - 2 not in wanted:
        ranks = " or ".join(str(axes + 2) for axes in wanted)
        raise ValueError(f"{function}: mode={mode!r} takes inputs of {ranks} axes, found shape {shape}")
    if 0 in shape[1:]:
        raise ValueError(f"{function}: input must not be empty except for the batch, found {shape}")
    if align_corners is not None:
        check.boolean(function, "align_corners", align_corners)
        if rule not in ("linear", "cubic") and not (rule == "lanczos" and not align_corners):
            raise ValueError(f"{function}: align_corners belongs to the linear and cubic modes, found mode={mode!r}")
    smooth = check.boolean(function, "antialias", antialias)
    if smooth and mode not in ("bilinear", "bicubic", "lanczos"):
        raise ValueError(f"{function}: antialias belongs to bilinear, bicubic and lanczos, found mode={mode!r}")
    if mode == "lanczos" and not smooth:
        raise ValueError(f'{function}: mode="lanczos" needs antialias=True')
    sizes, factors = _sizes(function, shape, size, scale_factor, 0 if rule == "area" else 1)
    if mode == "area":
        factors = None
    if recompute is not None and check.boolean(function, "recompute_scale_factor", recompute):
        if size is not None:
            raise ValueError(f"{function}: recompute_scale_factor=True needs scale_factor, found size={size}")
        factors = None
    check.elements(function, "the result", (*shape[:2], *sizes))
    return _resized(input, sizes, factors, rule, bool(align_corners), smooth)


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """`interpolate` under its old name."""
    return _interpolated("upsample", input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode="nearest"."""
    return _interpolated("upsample_nearest", input, size, scale_factor, "nearest", None)


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode="bilinear" and align_corners=True."""
    return _interpolated("upsample_bilinear", input, size, scale_factor, "bilinear", True)
