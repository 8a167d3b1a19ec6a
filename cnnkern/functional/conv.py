# SPDX-License-Identifier: BSD-3-Clause
"""Two-dimensional convolution (cross-correlation, as in every CNN library) and its gradients."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional._eager import evaluate
from cnnkern.functional.shape import add_batch, drop_batch, reshape_to, sum_axes
from cnnkern.graph import Attrs, KernelCall, Node, OpDef, Shape, Spec, Symbol, apply, define, product

Pairs = tuple[tuple[int, int], tuple[int, int]]


def _core_attrs(node: Node) -> Attrs:
    attrs = dict(node.attrs)
    attrs["padding"] = (attrs["padding"][0][0], attrs["padding"][1][0])  # what stands after follows from the shapes
    attrs.pop("input_shape", None)
    attrs.pop("weight_shape", None)
    return attrs


def _lower(node: Node) -> list[KernelCall]:
    args = [(value, None if value is None else value.shape) for value in (*node.inputs, *node.outputs)]
    return [KernelCall(node.op.name, _core_attrs(node), args)]


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def _conv2d_shape(x: Shape, w: Shape, attrs: Attrs) -> Shape:
    (top, bottom), (left, right) = attrs["padding"]
    height = output_size(x[2], w[2], attrs["stride"][0], top, bottom, attrs["dilation"][0])
    width = output_size(x[3], w[3], attrs["stride"][1], left, right, attrs["dilation"][1])
    return x[0], w[0], height, width


def _infer_conv2d(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(_conv2d_shape(inputs[0].shape, inputs[1].shape, attrs), inputs[0].dtype),)


def _geometry(attrs: Attrs) -> Attrs:
    return {key: attrs[key] for key in ("stride", "padding", "dilation", "groups")}


def _conv2d_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    x, weight, bias, residual = node.inputs
    geometry = _geometry(node.attrs)
    (dx,) = apply(CONV2D_GRAD_INPUT, (dy, weight), {"input_shape": x.shape, **geometry})
    (dw,) = apply(CONV2D_GRAD_WEIGHT, (x, dy), {"weight_shape": weight.shape, **geometry})
    db = None if bias is None else reshape_to(sum_axes(dy, (1, bias.shape[0], 1, 1)), bias.shape)
    return dx, dw, db, None if residual is None else dy


def _grad_input_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
    dy, weight = node.inputs
    geometry = _geometry(node.attrs)
    (ddy,) = apply(CONV2D, (g, weight, None, None), geometry)
    (dw,) = apply(CONV2D_GRAD_WEIGHT, (g, dy), {"weight_shape": weight.shape, **geometry})
    return ddy, dw


def _grad_weight_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
    x, dy = node.inputs
    geometry = _geometry(node.attrs)
    (dx,) = apply(CONV2D_GRAD_INPUT, (dy, g), {"input_shape": x.shape, **geometry})
    (ddy,) = apply(CONV2D, (x, g, None, None), geometry)
    return dx, ddy


def _macs(y: Shape, weight: Shape) -> int:
    return product(y) * product(weight[1:])


CONV2D = define(
    "conv2d",
    _infer_conv2d,
    gradient=_conv2d_gradient,
    lower=_lower,
    macs=lambda node: _macs(node.outputs[0].shape, node.inputs[1].shape),
)
CONV2D_GRAD_INPUT = define(
    "conv2d_grad_input",
    lambda inputs, attrs: (Spec(attrs["input_shape"], inputs[0].dtype),),
    gradient=_grad_input_gradient,
    lower=_lower,
    macs=lambda node: _macs(node.inputs[0].shape, node.inputs[1].shape),
)
CONV2D_GRAD_WEIGHT = define(
    "conv2d_grad_weight",
    lambda inputs, attrs: (Spec(attrs["weight_shape"], inputs[0].dtype),),
    gradient=_grad_weight_gradient,
    lower=_lower,
    macs=lambda node: _macs(node.inputs[1].shape, node.attrs["weight_shape"]),
)


def _padding(function: str, padding: Any, weight: Shape, stride: tuple[int, int], dilation: tuple[int, int]) -> Pairs:
    if isinstance(padding, str):
        if check.choice(function, "padding", padding, ("same", "valid")) == "valid":
            return (0, 0), (0, 0)
        if stride != (1, 1):
            raise ValueError(f"{function}: padding='same' needs stride 1, found {stride}")
        total = [dilation[i] * (weight[2 + i] - 1) for i in (0, 1)]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    height, width = check.pair(function, "padding", padding, 0)
    return (height, height), (width, width)


def _checked(
    function: str, input: Shape, weight: Shape, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Attrs, Shape, Shape]:
    """Check shapes and geometry. Returns the attributes, the input's shape with a batch axis and the output's."""
    if len(input) not in (3, 4):
        raise ValueError(f"{function}: input must have shape (N, C, H, W) or (C, H, W), found {input}")
    if len(weight) != 4:
        raise ValueError(f"{function}: weight must have shape (O, C / groups, R, S), found {weight}")
    if 0 in weight:
        raise ValueError(f"{function}: weight must not be empty, found {weight}")
    strides = check.pair(function, "stride", stride, 1)
    dilations = check.pair(function, "dilation", dilation, 1)
    groups = check.integer(function, "groups", groups, 1)
    pads = _padding(function, padding, weight, strides, dilations)
    attrs: Attrs = {"stride": strides, "padding": pads, "dilation": dilations, "groups": groups}
    channels = input[-3]
    shapes = f"(input: {input}, weight: {weight}"
    if channels != weight[1] * groups:
        wanted = weight[1] * groups
        raise ValueError(
            f"{function}: weight expects {wanted} input channels, input has {channels} {shapes}"
            + (f", groups: {groups})" if groups > 1 else ")")
            + check.layout_hint(input, wanted)
        )
    if weight[0] % groups:
        raise ValueError(f"{function}: groups={groups} does not divide the {weight[0]} output channels {shapes})")
    x = check.map_shape(function, "input", input)
    for i, name in ((0, "height"), (1, "width")):
        padded = x[2 + i] + sum(pads[i])
        extent = dilations[i] * (weight[2 + i] - 1) + 1
        if extent > padded:
            raise ValueError(
                f"{function}: the kernel's {name} {extent} is larger than the padded input's {padded} "
                f"{shapes}, padding: {padding!r}, dilation: {dilations})"
            )
        if padded > check.LARGEST:
            raise ValueError(f"{function}: padding={padding!r} is too large")
    check.elements(function, "weight", weight)
    y = check.elements(function, "the output", _conv2d_shape(x, weight, attrs))
    return attrs, x, y


def _compute(
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
    (result,) = evaluate(op, inputs, attrs, target, algorithm or "")
    if out is not None:
        return out
    return drop_batch(result) if unbatched else result


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Two-dimensional convolution (cross-correlation).

    y[n, o, i, j] = bias[o] + sum over c, r, s of weight[o, c, r, s] * x[n, c, i*stride + r*dilation - padding, ...]

    input: (N, C, H, W) or (C, H, W); weight: (O, C / groups, R, S); bias: (O,); all float32 or all float64.
    stride, padding, dilation: an integer or (height, width); padding also "valid" or "same" (needs stride 1; of an odd
    total the larger half goes after, as in PyTorch). algorithm: force a kernel; out: array that receives the result.
    Returns (N, O, OH, OW), without N if the input has none.
    Raises TypeError for wrong types; ValueError for shapes that do not fit or an algorithm that cannot serve them (it
    names those that can).
    """
    check.floating("conv2d", ("bias",), input=input, weight=weight, bias=bias)
    attrs, _, y = _checked("conv2d", input.shape, weight.shape, stride, padding, dilation, groups)
    check.vector("conv2d", "bias", bias, y[1])
    unbatched = len(input.shape) == 3
    x = add_batch(input) if unbatched else input
    return _compute("conv2d", CONV2D, (x, weight, bias, None), attrs, algorithm, out, unbatched)


def conv2d_grad_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its input (arguments as in torch.nn.grad.conv2d_input).

    input_size: shape of the input, (N, C, H, W) or (C, H, W); weight: (O, C / groups, R, S); grad_output: the shape of
    conv2d's result. Returns an array of shape input_size. Errors as for conv2d.
    """
    function = "conv2d_grad_input"
    check.floating(function, weight=weight, grad_output=grad_output)
    size = check.shape(function, "input_size", input_size)
    attrs, x, y = _checked(function, size, weight.shape, stride, padding, dilation, groups)
    unbatched = len(size) == 3
    check.same_shape(function, "grad_output", grad_output, y[1:] if unbatched else y)
    dy = add_batch(grad_output) if unbatched else grad_output
    attrs = {"input_shape": x, **attrs}
    return _compute(function, CONV2D_GRAD_INPUT, (dy, weight), attrs, algorithm, out, unbatched)


def conv2d_grad_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its weight (arguments as in torch.nn.grad.conv2d_weight).

    input: (N, C, H, W) or (C, H, W); weight_size: (O, C / groups, R, S); grad_output: the shape of conv2d's result.
    Returns an array of shape weight_size. Errors as for conv2d.
    """
    function = "conv2d_grad_weight"
    check.floating(function, input=input, grad_output=grad_output)
    size = check.shape(function, "weight_size", weight_size, 4)
    attrs, _, y = _checked(function, input.shape, size, stride, padding, dilation, groups)
    unbatched = len(input.shape) == 3
    check.same_shape(function, "grad_output", grad_output, y[1:] if unbatched else y)
    x, dy = (add_batch(input), add_batch(grad_output)) if unbatched else (input, grad_output)
    attrs = {"weight_shape": size, **attrs}
    return _compute(function, CONV2D_GRAD_WEIGHT, (x, dy), attrs, algorithm, out)


def conv2d_grad_bias(grad_output: Any) -> Any:
    """Gradient of `conv2d` with respect to its bias: grad_output (N, O, OH, OW) or (O, OH, OW) summed to (O,)."""
    check.floating("conv2d_grad_bias", grad_output=grad_output)
    check.maps("conv2d_grad_bias", "grad_output", grad_output)
    channels = grad_output.shape[-3]
    shape = (1, channels, 1, 1)[4 - len(grad_output.shape) :]
    return reshape_to(sum_axes(grad_output, shape), (channels,))
