# SPDX-License-Identifier: BSD-3-Clause
"""Random cases of convolutions and poolings."""

from typing import Any

import numpy as np
from case import Case, Shape, conv_direction, conv_output, make
from draw import MOST_ELEMENTS, MOST_MACS, Draw, axes_of, epilogue, maps


def _conv_channels(draw: Draw) -> tuple[int, int, int]:
    """Groups, input channels per group, output channels per group."""
    kind = draw.among("dense", "dense", "dense", "dense", "depthwise", "depthwise", "multiplier", "grouped", "grouped")
    if kind == "dense":
        return 1, draw.channels(), draw.channels()
    if kind == "depthwise":
        return draw.channels(), 1, 1
    if kind == "multiplier":
        return draw.channels(), 1, draw.between(2, 3)
    return draw.between(2, 5), draw.between(1, 17), draw.between(1, 17)


def _conv_once(draw: Draw, axes: int) -> Case | None:
    n = draw.batch()
    groups, c, o = _conv_channels(draw)
    taps = (1, 2, 3, 3, 3, 4, 5, 5, 7, 11) if axes < 3 else (1, 2, 2, 3, 3, 4)
    kernel = (1,) * axes if draw.chance(0.2) else draw.sizes(axes, lambda: draw.among(*taps))
    stride = draw.sizes(axes, lambda: draw.among(*((1, 1, 1, 2, 2, 3, 4) if axes < 3 else (1, 1, 1, 1, 2, 3))))
    dilation = (1,) * axes if draw.chance(0.7) else draw.sizes(axes, lambda: draw.between(1, 3))
    size = draw.spatial(axes)
    padding = []
    for extent in kernel:
        before = draw.among(0, extent // 2, extent // 2, draw.between(0, extent if axes < 3 else extent // 2))
        padding.append((before, draw.between(0, extent) if draw.chance(0.2) else before))
    attrs = {"stride": stride, "padding": tuple(padding), "dilation": dilation, "groups": groups}
    x, weight = (n, groups * c, *size), (groups * o, c, *kernel)
    y = conv_output(x, weight, attrs)
    if min(y[2:]) < 1 or np.prod(x) > MOST_ELEMENTS or np.prod(y) > MOST_ELEMENTS:
        return None
    if np.prod(y) * c * np.prod(kernel) > MOST_MACS:
        return None
    bias = (groups * o,) if draw.chance(0.5) else None
    residual = y if draw.chance(0.2) else None
    return make(f"conv{axes}d", (x, weight, bias, residual), **attrs, **epilogue(draw))


def conv(draw: Draw, op: str) -> Case:
    while (case := _conv_once(draw, axes_of(op))) is None:
        pass
    case = conv_direction(case, op)
    if not op.endswith("_grad_input"):
        return case
    dx = case.attrs["input_shape"]
    residual, gate = (dx if draw.chance(0.25) else None for _ in range(2))
    return make(op, (*case.shapes[:2], residual, gate), **case.attrs)


def conv_scaled(draw: Draw, op: str) -> Case:
    """1x1 kernels; groups of whole blocks; one scale for all images or one for each."""
    while True:
        groups, c, o = (2, 16, 32) if draw.chance(0.15) else (1, draw.channels(), draw.channels())
        n, size, stride = draw.batch(), draw.spatial(2), draw.sizes(2, lambda: draw.among(1, 1, 2, 3))
        x, weight = (n, groups * c, *size), (groups * o, c, 1, 1)
        attrs = {"stride": stride, "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": groups}
        y = conv_output(x, weight, attrs)
        if max(np.prod(x), np.prod(y)) <= MOST_ELEMENTS and np.prod(y) * c <= MOST_MACS:
            break
    vector = (groups * c,)
    scale = draw.among(vector, (n, *vector), (n, *vector, 1, 1)) if n else vector
    optional = [vector if draw.chance(0.6) else None for _ in range(2)]
    bias, residual = (groups * o,) if draw.chance(0.5) else None, y if draw.chance(0.2) else None
    active = draw.among("none", "relu")
    return make(op, (x, weight, bias, residual, scale, *optional), input_activation=active, **attrs, **epilogue(draw))


def pool_output(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int, ceil_mode: bool) -> int:
    """Windows along one axis; in ceil mode the last one must begin inside the input or its leading padding."""
    room = size + sum(padding) - dilation * (kernel - 1) - 1
    windows = -(-room // stride) + 1 if ceil_mode else room // stride + 1
    if ceil_mode and (windows - 1) * stride >= size + padding[0]:
        windows -= 1
    return windows


def pool(draw: Draw, op: str) -> Case:
    average, axes = op.startswith("avg"), axes_of(op)
    while True:
        x = maps(draw, axes)
        kernel = draw.sizes(axes, lambda: draw.among(1, 2, 2, 3, 3, 4, 5, 7))
        stride = kernel if draw.chance(0.3) else draw.sizes(axes, lambda: draw.between(1, 4))
        dilation = (1,) * axes if average or draw.chance(0.75) else draw.sizes(axes, lambda: draw.between(1, 3))
        if op.startswith("avg_pool3d") and any(k > size for k, size in zip(kernel, x[2:], strict=True)):
            continue  # PyTorch refuses it, whatever the padding
        reach = [(dilation[i] * (kernel[i] - 1) + 1) // 2 for i in range(axes)]
        pads = tuple(draw.among(0, draw.between(0, most)) for most in reach)
        padding = tuple((p, p) for p in pads)
        ceil_mode = draw.chance(0.25)
        rows = zip(x[2:], kernel, stride, padding, dilation, strict=True)
        output = tuple(pool_output(*row, ceil_mode) for row in rows)
        if min(output) >= 1 and np.prod(x[:2] + output) * np.prod(kernel) <= MOST_MACS:
            break
    attrs: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    if average:
        divisor = draw.between(1, 9) if axes > 1 and draw.chance(0.2) else 0
        attrs |= {"count_include_pad": draw.chance(0.5), "divisor": divisor, "output_size": output}
    else:
        attrs["dilation"] = dilation
    return pool_case(op, x, output, attrs)


def pool_case(op: str, x: Shape, output: tuple[int, ...], attrs: dict[str, Any]) -> Case:
    """A case of a pooling operation of either direction from the shape of its input and the size of its output."""
    y = (*x[:2], *output)
    if not op.endswith("_grad"):
        return make(op, (x,), **{**attrs, "output_size": tuple(output)})
    shapes = (y, y) if "max" in op else (y,)  # dy and indices, or dy
    return make(op, shapes, input_shape=x, **attrs)


def adaptive_pool(draw: Draw, op: str) -> Case:
    while True:
        axes = axes_of(op)
        x, output = maps(draw, axes), draw.sizes(axes, lambda: draw.among(1, 1, 2, 3, draw.size()))
        if np.prod(x[:2] + output) <= MOST_ELEMENTS:
            return pool_case(op, x, output, {})


def unpool(draw: Draw, op: str) -> Case:
    while True:
        x = maps(draw, draw.between(1, 3))
        output = tuple(draw.size() for _ in x[2:])
        if np.prod(x[:2] + output) <= MOST_ELEMENTS:
            break
    if op == "max_unpool":
        return make(op, (x, x), output_size=output)
    return make(op, (x[:2] + output, x))


def fractional_pool(draw: Draw, op: str) -> Case:
    while True:
        x = maps(draw, draw.between(2, 3))
        spare = len(x) - 4  # PyTorch wants a pixel more of volumes
        if np.prod(x) <= MOST_ELEMENTS and min(x[2:]) > spare:
            break
    kernel = tuple(draw.between(1, min(size - spare, 3)) for size in x[2:])
    output = tuple(draw.between(1, size - spare - extent + 1) for size, extent in zip(x[2:], kernel, strict=True))
    y = x[:2] + output
    if op.endswith("_grad"):
        return make(op, (y, y), input_shape=x)
    return make(op, (x, (*x[:2], len(kernel))), kernel=kernel, output_size=output)
