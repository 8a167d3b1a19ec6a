# SPDX-License-Identifier: BSD-3-Clause
"""Transposed convolution over one, two and three axes: the gradient of a convolution by its input, and a bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._convolution import FAMILIES, check_weight, compute
from cnnkern.functional.elementwise import add
from cnnkern.functional.shape import PAD, add_batch, drop_batch, reshape_to
from cnnkern.graph import Attrs, Shape, apply, current_trace


def _checked(function: str, axes: int, input: Shape, weight: Shape, geometry: tuple[Any, ...]) -> tuple[Attrs, Shape]:
    """Check shapes and geometry. Returns the attributes, among them "extra", output_padding, and the result's shape."""
    stride, padding, output_padding, groups, dilation = geometry
    x = check.map_shape(function, "input", input, axes)
    check_weight(function, weight, axes, "C, O / groups")
    strides = check.sizes(function, "stride", stride, axes, 1)
    pads = check.sizes(function, "padding", padding, axes, 0)
    extras = check.sizes(function, "output_padding", output_padding, axes, 0)
    dilations = check.sizes(function, "dilation", dilation, axes, 1)
    groups = check.integer(function, "groups", groups, 1)
    shapes = f"(input: {input}, weight: {weight})"
    if x[1] != weight[0]:
        hint = check.layout_hint(input, weight[0], axes)
        raise ValueError(f"{function}: weight expects {weight[0]} input channels, input has {x[1]} {shapes}{hint}")
    if weight[0] % groups:
        raise ValueError(f"{function}: groups={groups} does not divide the {weight[0]} input channels {shapes}")
    size = []
    for i in range(axes):
        if extras[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"{function}: output_padding must be smaller than stride or dilation, found {extras} "
                f"(stride: {strides}, dilation: {dilations})"
            )
        size.append((x[2 + i] - 1) * strides[i] + dilations[i] * (weight[2 + i] - 1) + 1 + extras[i] - 2 * pads[i])
    y = (x[0], check.integer(function, "output channels", weight[1] * groups, 1), *size)
    if min(size) < 1:
        raise ValueError(f"{function}: the result would have size {tuple(size)} {shapes}, padding: {padding!r})")
    check.elements(function, "the output", y)
    attrs: Attrs = {"stride": strides, "padding": pads, "extra": extras, "dilation": dilations, "groups": groups}
    return attrs, y


def _transposed(
    axes: int, input: Any, weight: Any, bias: Any, geometry: tuple[Any, ...], algorithm: Any, out: Any
) -> Any:
    op = FAMILIES[axes].grad_input
    function = f"conv_transpose{axes}d"
    check.floating(function, ("bias",), input=input, weight=weight, bias=bias)
    attrs, shape = _checked(function, axes, input.shape, weight.shape, geometry)
    check.vector(function, "bias", bias, shape[1])
    unbatched = len(input.shape) == axes + 1
    x = add_batch(input) if unbatched else input
    pads, extras = attrs.pop("padding"), attrs.pop("extra")
    attrs["padding"] = tuple([(pad, pad) for pad in pads])
    if all(extra < stride for extra, stride in zip(extras, attrs["stride"], strict=True)):
        target = out if bias is None else None
        inputs = (x, weight, None, None)
        y = compute(function, op, inputs, {"input_shape": shape, **attrs}, algorithm, target, unbatched)
        if target is not None:
            return out
        y = add_batch(y) if unbatched else y
    else:
        y = _with_margin(function, op, (x, weight, None, None), shape, attrs, (pads, extras), algorithm)
    if bias is not None:
        y = _biased(y, reshape_to(bias, (1, shape[1], *(1,) * axes)))
    y = drop_batch(y) if unbatched else y
    if out is None:
        return y
    check.out(function, out, y.shape, y.dtype, input, weight, bias)
    out[...] = y
    return out


def _biased(y: Any, bias: Any) -> Any:
    """Of arrays in place: another array of that size would cost more than the addition."""
    if isinstance(y, np.ndarray) and isinstance(bias, np.ndarray) and current_trace() is None:
        return np.add(y, bias, out=y)
    return add(y, bias)


def _with_margin(
    function: str, op: Any, inputs: tuple[Any, ...], shape: Shape, attrs: Attrs, amounts: Any, algorithm: Any
) -> Any:
    """Where output_padding reaches the stride, what no pixel of the input meets is added, and the padding cropped."""
    pads, extras = amounts
    full = tuple(size + 2 * pad - extra for size, pad, extra in zip(shape[2:], pads, extras, strict=True))
    attrs = {**attrs, "input_shape": (*shape[:2], *full), "padding": ((0, 0),) * len(pads)}
    y = compute(function, op, inputs, attrs, algorithm, None)
    for amounts in ([(0, extra) for extra in extras], [(-pad, -pad) for pad in pads]):
        (y,) = apply(PAD, (y,), {"padding": ((0, 0), (0, 0), *amounts), "value": 0.0})
    return y


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """One-dimensional transposed convolution, as `conv_transpose2d`: the gradient of `conv1d` by its input.

    input: (N, C, L) or (C, L); weight: (C, O / groups, S); bias: (O,). stride, padding,
    output_padding, dilation: an integer or (width,). Returns (N, O, OL), without N if the input has none.
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _transposed(1, input, weight, bias, geometry, algorithm, out)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Two-dimensional transposed convolution (Dumoulin and Visin, 2016): the gradient of `conv2d` by its input.

    y[n, o, i, ...] = bias[o] + sum of x[n, c, p, ...] * weight[c, o, r, ...] where p*stride + r*dilation - padding = i

    input: (N, C, H, W) or (C, H, W); weight: (C, O / groups, R, S); bias: (O,); all float32 or all float64.
    stride, padding, output_padding (at the end of each axis, smaller than stride or dilation), dilation: an integer or
    (height, width).
    algorithm: force a kernel; out: array that receives the result.
    Returns (N, O, OH, OW), OH = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1, without N if
    the input has none. Raises TypeError for wrong types, ValueError for shapes that do not fit.
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _transposed(2, input, weight, bias, geometry, algorithm, out)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Three-dimensional transposed convolution, as `conv_transpose2d`: the gradient of `conv3d` by its input.

    input: (N, C, D, H, W) or (C, D, H, W); weight: (C, O / groups, T, R, S); bias: (O,). stride, padding,
    output_padding, dilation: an integer or (depth, height, width).
    Returns (N, O, OD, OH, OW), without N if the input has none.
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _transposed(3, input, weight, bias, geometry, algorithm, out)
