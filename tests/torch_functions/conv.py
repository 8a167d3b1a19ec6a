# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions, transposed convolutions and their gradients, over one, two and three axes."""

from __future__ import annotations

from typing import Any

from torch_functions.draw import Array, Call, Counterpart, Draw, Generator

_MOST = {1: 17, 2: 8, 3: 4}


def _sizes(draw: Draw, axes: int, low: int, high: int) -> Any:
    """An argument of the kind of stride: one number, one in a sequence, or one for each axis."""
    one = draw.integer(low, high)
    if draw.bad and draw.maybe(0.15):
        return draw.choice((low - 1, (one,) * (axes + 1), (low - 1,) * axes, 1.5))
    several = tuple(draw.integer(low, high) for _ in range(axes))
    return draw.choice((one, several, several, list(several), (one,)))


def _geometry(draw: Draw, axes: int, groups: int, padding: int = 3) -> dict[str, Any]:
    options = {"stride": lambda: _sizes(draw, axes, 1, 3), "padding": lambda: _sizes(draw, axes, 0, padding)}
    chosen = {**draw.some(options, 0.7), **draw.some({"dilation": lambda: _sizes(draw, axes, 1, 3)}, 0.3)}
    if groups > 1:
        chosen["groups"] = groups + 1 if draw.bad and draw.maybe(0.3) else groups
    return chosen


def _operands(draw: Draw, axes: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shapes of input and weight, and groups: dense, grouped, depthwise, a multiplier."""
    groups = draw.choice((1, 1, 1, 2, 3, draw.size()))
    inner = 1 if groups > 3 else draw.size(16 if axes < 3 else 5)
    outputs = groups * draw.choice((1, 2, 3) if groups > 1 else (1, 3, 8, 15, 17))
    size = tuple(draw.size(_MOST[axes]) for _ in range(axes))
    kernel = tuple(draw.integer(1, 3 if axes == 3 else 4) for _ in range(axes))
    if not draw.maybe(0.1):  # mostly kernels that fit
        kernel = tuple(min(extent, pixels) for extent, pixels in zip(kernel, size, strict=True))
    x, w = (draw.batch(3), groups * inner, *size), (outputs, inner, *kernel)
    if draw.bad and draw.maybe(0.4):
        w = draw.broken(w)
    return (x if draw.maybe(0.75) else x[1:]), w, groups


def _forward(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        x, w, groups = _operands(draw, axes)
        options = _geometry(draw, axes, groups)
        if draw.maybe(0.2):
            options["padding"] = draw.choice(("same", "valid", "full" if draw.bad else "same"))
            if options["padding"] == "same" and not draw.bad:
                options.pop("stride", None)
        bias = draw.normal(w[0] + (1 if draw.bad and draw.maybe(0.2) else 0)) if draw.maybe(0.6) else None
        operands = (draw.strided(draw.normal(*x)), draw.strided(draw.normal(*w)))
        if bias is None:
            return Call(operands, options, gradients=(0, 1))
        return Call((*operands, bias), options, gradients=(0, 1, 2))

    return generator


def _along(value: Any, axes: int) -> tuple[int, ...]:
    """An argument of the kind of stride for each axis; () for an impossible one."""
    if isinstance(value, int):
        return (value,) * axes
    if not isinstance(value, (tuple, list)) or len(value) not in (1, axes):
        return ()
    return tuple(value) * (axes if len(value) == 1 else 1)


def _uncertain(x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any]) -> bool:
    """Whether PyTorch's answer depends on the library that it hands the call to: a result of size 0, no image, dilation
    0."""
    axes = len(w) - 2
    names = (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1))
    stride, padding, extra, dilation = (_along(options.get(name, usual), axes) for name, usual in names)
    if not (stride and padding and extra and dilation):
        return False
    rows = zip(x[-axes:], w[2:], stride, padding, extra, dilation, strict=True)
    size = [(pixels - 1) * s - 2 * p + d * (k - 1) + 1 + e for pixels, k, s, p, e, d in rows]
    return 0 in size or 0 in dilation or (x[0] == 0 and max(extra) > 0)


def _transposed(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        while True:
            x, w, groups = _operands(draw, axes)
            w = (x[-1 - axes], draw.choice((1, 2, 3, 8 if groups == 1 else 1)), *(*w[2:], *(1,) * axes)[:axes])
            w = draw.broken(w) if draw.bad and draw.maybe(0.4) else w
            options = _geometry(draw, axes, groups, draw.choice((1, 1, 3)))
            if draw.maybe(0.4):
                options["output_padding"] = _sizes(draw, axes, 0, 2)
            if len(w) != axes + 2 or not _uncertain(x, w, options):
                break
        operands = (draw.strided(draw.normal(*x)), draw.strided(draw.normal(*w)))
        if draw.maybe(0.4):
            return Call(operands, options, gradients=(0, 1))
        bias = draw.normal(w[1] * groups + (1 if draw.bad and draw.maybe(0.2) else 0))
        return Call((*operands, bias), options, gradients=(0, 1, 2))

    return generator


def _result(x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], draw: Draw) -> tuple[int, ...]:
    """The shape of a convolution's result, where there is one."""
    axes = len(w) - 2

    def along(name: str, otherwise: int, axis: int) -> int:
        value = options.get(name, otherwise)
        if not isinstance(value, (tuple, list)):
            return int(value)
        return int(value[axis if len(value) == axes else 0])

    size = []
    for i in range(axes):
        extent = along("dilation", 1, i) * (w[2 + i] - 1) + 1
        room = x[len(x) - axes + i] + 2 * along("padding", 0, i) - extent
        size.append(max(room // max(along("stride", 1, i), 1) + 1, 0))
    y = (*x[: -axes - 1], w[0], *size)
    return draw.broken(y) if draw.bad and draw.maybe(0.5) else y


def _gradient(axes: int, part: str) -> Generator:
    def generator(draw: Draw) -> Call:
        x, w, groups = _operands(draw, axes)
        options = _geometry(draw, axes, groups)
        dy = draw.normal(*_result(x, w, options, draw))
        args: tuple[Any, ...] = (x, draw.normal(*w), dy) if part == "input" else (draw.normal(*x), w, dy)
        return Call(args, options, torch_function=_by_autograd(axes, part))

    return generator


def _by_autograd(axes: int, part: str) -> Counterpart:
    """torch.nn.grad takes no unbatched maps and no shape that is not reached exactly."""

    def make(torch: Any) -> Any:
        def gradient(one: Any, other: Any, dy: Any, **options: Any) -> Any:
            size, operand = (one, other) if part == "input" else (other, one)
            wanted = torch.zeros(size, dtype=dy.dtype, requires_grad=True)
            x, w = (wanted, operand) if part == "input" else (operand, wanted)
            y = getattr(torch.nn.functional, f"conv{axes}d")(x, w, None, **options)
            if y.shape != dy.shape:
                raise ValueError("grad_output has another shape")
            return torch.autograd.grad(y, wanted, dy)[0]

        return gradient

    return make


def _bias_gradient(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        shape = (draw.batch(), draw.size(), *(draw.size(7) for _ in range(axes)))[draw.integer(0, 1) :]
        dy: Array = draw.normal(*((2, *shape, 2, 2) if draw.bad else shape))

        def make(torch: Any) -> Any:
            def gradient(dy: Any) -> Any:
                if dy.ndim - axes not in (1, 2):
                    raise ValueError("another rank")
                return dy.sum([axis for axis in range(dy.ndim) if axis != dy.ndim - axes - 1])

            return gradient

        return Call((dy,), torch_function=make)

    return generator


FUNCTIONS: dict[str, Generator] = {}
OWN: dict[str, Counterpart] = {}
for _axes in (1, 2, 3):
    FUNCTIONS[f"conv{_axes}d"] = _forward(_axes)
    FUNCTIONS[f"conv_transpose{_axes}d"] = _transposed(_axes)
    FUNCTIONS[f"conv{_axes}d_grad_bias"] = _bias_gradient(_axes)
    OWN[f"conv{_axes}d_grad_bias"] = lambda torch: None
    for _part in ("input", "weight"):
        FUNCTIONS[f"conv{_axes}d_grad_{_part}"] = _gradient(_axes, _part)
        OWN[f"conv{_axes}d_grad_{_part}"] = _by_autograd(_axes, _part)
