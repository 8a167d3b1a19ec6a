# SPDX-License-Identifier: BSD-3-Clause
"""Convolution over one, two or three axes: the operations of the graph, their checks, and how a call is computed.

The core knows one convolution, over (D, H, W): fewer axes are its last ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cnnkern.functional import _check as check
from cnnkern.functional._eager import evaluate
from cnnkern.functional.shape import add_batch, drop_batch, reshape_to, sum_axes
from cnnkern.graph import OPS, Attrs, KernelCall, Node, OpDef, Shape, Spec, Symbol, apply, define, product

_SPATIAL = {"stride": 1, "padding": 0, "dilation": 1}
_WINDOW = {1: "S", 2: "R, S", 3: "T, R, S"}


def core_attrs(node: Node) -> Attrs:
    """The attributes of a node as the core takes them."""
    attrs = dict(node.attrs)
    attrs["padding"] = tuple([before for before, _ in attrs["padding"]])  # what stands after follows from the shapes
    if len(attrs["stride"]) == 1:
        attrs.update((key, (neutral, *attrs[key])) for key, neutral in _SPATIAL.items())
    attrs.pop("input_shape", None)
    attrs.pop("weight_shape", None)
    return attrs


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def output_shape(x: Shape, w: Shape, attrs: Attrs) -> Shape:
    rows = zip(x[2:], w[2:], attrs["stride"], attrs["padding"], attrs["dilation"], strict=True)
    return x[0], w[0], *[output_size(size, kernel, s, pads[0], pads[1], d) for size, kernel, s, pads, d in rows]


def infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(output_shape(inputs[0].shape, inputs[1].shape, attrs), inputs[0].dtype),)


def _geometry(attrs: Attrs) -> Attrs:
    return {key: attrs[key] for key in ("stride", "padding", "dilation", "groups")}


def macs(y: Shape, weight: Shape) -> int:
    return product(y) * product(weight[1:])


class Family(NamedTuple):
    """The operations of a convolution over so many axes."""

    axes: int
    forward: OpDef
    grad_input: OpDef
    grad_weight: OpDef


def _define(axes: int) -> Family:
    name = f"conv{axes}d"
    forward, grad_input, grad_weight = name, f"{name}_grad_input", f"{name}_grad_weight"

    def lower(node: Node) -> list[KernelCall]:
        args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
        return [KernelCall(node.op.name.replace(name, "conv2d"), core_attrs(node), args)]

    def gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
        x, weight, bias, residual = node.inputs
        geometry = _geometry(node.attrs)
        (dx,) = apply(OPS[grad_input], (dy, weight, None, None), {"input_shape": x.shape, **geometry})
        (dw,) = apply(OPS[grad_weight], (x, dy), {"weight_shape": weight.shape, **geometry})
        db = None if bias is None else bias_gradient(dy, axes)
        return dx, dw, db, None if residual is None else dy

    def grad_input_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
        dy, weight = node.inputs[:2]
        geometry = _geometry(node.attrs)
        (ddy,) = apply(OPS[forward], (g, weight, None, None), geometry)
        (dw,) = apply(OPS[grad_weight], (g, dy), {"weight_shape": weight.shape, **geometry})
        return ddy, dw, None, None

    def grad_weight_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
        x, dy = node.inputs
        geometry = _geometry(node.attrs)
        (dx,) = apply(OPS[grad_input], (dy, g, None, None), {"input_shape": x.shape, **geometry})
        (ddy,) = apply(OPS[forward], (x, g, None, None), geometry)
        return dx, ddy

    return Family(
        axes,
        define(
            forward,
            infer,
            gradient=gradient,
            lower=lower,
            macs=lambda node: macs(node.outputs[0].shape, node.inputs[1].shape),
        ),
        define(
            grad_input,
            lambda inputs, attrs: (Spec(attrs["input_shape"], inputs[0].dtype),),
            gradient=grad_input_gradient,
            lower=lower,
            macs=lambda node: macs(node.inputs[0].shape, node.inputs[1].shape),
        ),
        define(
            grad_weight,
            lambda inputs, attrs: (Spec(attrs["weight_shape"], inputs[0].dtype),),
            gradient=grad_weight_gradient,
            lower=lower,
            macs=lambda node: macs(node.inputs[1].shape, node.attrs["weight_shape"]),
        ),
    )


FAMILIES = {axes: _define(axes) for axes in (1, 2, 3)}


def bias_gradient(dy: Any, axes: int) -> Any:
    """dy (N, O, ...) or (O, ...) summed to (O,)."""
    channels = dy.shape[-1 - axes]
    shape = (1, channels, *(1,) * axes)[axes + 2 - len(dy.shape) :]
    return reshape_to(sum_axes(dy, shape), (channels,))


def _padding(function: str, padding: Any, weight: Shape, stride: Shape, dilation: Shape) -> tuple[Shape, ...]:
    """(before, after) of each axis."""
    if isinstance(padding, str):
        if check.choice(function, "padding", padding, ("same", "valid")) == "valid":
            return ((0, 0),) * len(stride)
        if any(step != 1 for step in stride):
            raise ValueError(f"{function}: padding='same' needs stride 1, found {stride}")
        total = [step * (size - 1) for step, size in zip(dilation, weight[2:], strict=True)]
        return tuple((each // 2, each - each // 2) for each in total)
    return tuple([(each, each) for each in check.sizes(function, "padding", padding, len(stride), 0)])


def check_weight(function: str, weight: Shape, axes: int, channels: str = "O, C / groups") -> None:
    if len(weight) != axes + 2:
        raise ValueError(f"{function}: weight must have shape ({channels}, {_WINDOW[axes]}), found {weight}")
    if 0 in weight:
        raise ValueError(f"{function}: weight must not be empty, found {weight}")
    check.elements(function, "weight", weight)


def checked(
    function: str, axes: int, input: Shape, weight: Shape, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Attrs, Shape, Shape]:
    """Check shapes and geometry. Returns the attributes, the input's shape with a batch axis and the output's."""
    if len(input) - axes not in (1, 2):
        batched, single = check.MAPS[axes]
        raise ValueError(f"{function}: input must have shape {batched} or {single}, found {input}")
    check_weight(function, weight, axes)
    strides = check.sizes(function, "stride", stride, axes, 1)
    dilations = check.sizes(function, "dilation", dilation, axes, 1)
    groups = check.integer(function, "groups", groups, 1)
    pads = _padding(function, padding, weight, strides, dilations)
    attrs: Attrs = {"stride": strides, "padding": pads, "dilation": dilations, "groups": groups}
    channels = input[-1 - axes]
    shapes = f"(input: {input}, weight: {weight}"
    if channels != weight[1] * groups:
        wanted = weight[1] * groups
        raise ValueError(
            f"{function}: weight expects {wanted} input channels, input has {channels} {shapes}"
            + (f", groups: {groups})" if groups > 1 else ")")
            + check.layout_hint(input, wanted, axes)
        )
    if weight[0] % groups:
        raise ValueError(f"{function}: groups={groups} does not divide the {weight[0]} output channels {shapes})")
    x = check.map_shape(function, "input", input, axes)
    for i, name in enumerate(check.AXES[axes]):
        padded = x[2 + i] + sum(pads[i])
        extent = dilations[i] * (weight[2 + i] - 1) + 1
        if extent > padded:
            raise ValueError(
                f"{function}: the kernel's {name} {extent} is larger than the padded input's {padded} "
                f"{shapes}, padding: {padding!r}, dilation: {dilations})"
            )
        if padded > check.LARGEST:
            raise ValueError(f"{function}: padding={padding!r} is too large")
    y = check.elements(function, "the output", output_shape(x, weight, attrs))
    return attrs, x, y


def compute(
    function: str, op: OpDef, inputs: tuple[Any, ...], attrs: Attrs, algorithm: Any, out: Any, unbatched: bool = False
) -> Any:
    """Apply a convolution op, honouring algorithm= and out=; unbatched: the caller's result has no batch axis."""
    if algorithm is None and out is None:
        (result,) = apply(op, inputs, attrs)
        return drop_batch(result) if unbatched else result
    if algorithm is not None and not isinstance(algorithm, str):
        raise TypeError(f"{function}: algorithm must be the name of one, found {algorithm!r}")
    if any(isinstance(value, Symbol) for value in inputs):
        raise TypeError(f"{function}: algorithm and out cannot be given while tracing")
    target = None
    if out is not None:
        shape = op.infer(inputs, attrs)[0].shape
        check.out(function, out, shape[1:] if unbatched else shape, inputs[0].dtype, *inputs)
        target = out[None] if unbatched else out
    try:
        (result,) = evaluate(op, inputs, attrs, target, algorithm or "")
    except ValueError as error:  # the algorithm cannot serve the call; the core says so in its own name
        raise ValueError(f"{function}: {str(error).partition(': ')[2]}") from None
    if out is not None:
        return out
    return drop_batch(result) if unbatched else result


def convolve(
    axes: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    algorithm: Any,
    out: Any,
) -> Any:
    """The public forward functions."""
    op = FAMILIES[axes].forward
    function = op.name
    check.floating(function, ("bias",), input=input, weight=weight, bias=bias)
    attrs, _, y = checked(function, axes, input.shape, weight.shape, stride, padding, dilation, groups)
    check.vector(function, "bias", bias, y[1])
    unbatched = len(input.shape) == axes + 1
    x = add_batch(input) if unbatched else input
    return compute(function, op, (x, weight, bias, None), attrs, algorithm, out, unbatched)


def input_gradient(
    axes: int, input_size: Any, weight: Any, grad_output: Any, geometry: tuple[Any, ...], algorithm: Any, out: Any
) -> Any:
    """The public gradients by the input; geometry: stride, padding, dilation, groups."""
    op = FAMILIES[axes].grad_input
    function = op.name
    check.floating(function, weight=weight, grad_output=grad_output)
    size = check.shape(function, "input_size", input_size)
    attrs, x, y = checked(function, axes, size, weight.shape, *geometry)
    unbatched = len(size) == axes + 1
    check.same_shape(function, "grad_output", grad_output, y[1:] if unbatched else y)
    dy = add_batch(grad_output) if unbatched else grad_output
    inputs = (dy, weight, None, None)
    return compute(function, op, inputs, {"input_shape": x, **attrs}, algorithm, out, unbatched)


def weight_gradient(
    axes: int, input: Any, weight_size: Any, grad_output: Any, geometry: tuple[Any, ...], algorithm: Any, out: Any
) -> Any:
    """The public gradients by the weight; geometry: stride, padding, dilation, groups."""
    op = FAMILIES[axes].grad_weight
    function = op.name
    check.floating(function, input=input, grad_output=grad_output)
    size = check.shape(function, "weight_size", weight_size, axes + 2)
    attrs, _, y = checked(function, axes, input.shape, size, *geometry)
    unbatched = len(input.shape) == axes + 1
    check.same_shape(function, "grad_output", grad_output, y[1:] if unbatched else y)
    x, dy = (add_batch(input), add_batch(grad_output)) if unbatched else (input, grad_output)
    return compute(function, op, (x, dy), {"weight_shape": size, **attrs}, algorithm, out)
