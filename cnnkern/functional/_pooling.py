# SPDX-License-Identifier: BSD-3-Clause
"""Pooling over one, two or three axes: the operations of the graph, their checks, and how a call is computed.

The core knows pooling over (D, H, W): fewer axes are its last ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.shape import add_batch, drop_batch
from cnnkern.graph import OPS, Attrs, KernelCall, Node, OpDef, Shape, Spec, Symbol, apply, define, product

_INT32 = np.dtype(np.int32)
_SPATIAL = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}


def _infer_pool(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x = inputs[0]
    return (Spec((*x.shape[:2], *attrs["output_size"]), x.dtype),)


def _infer_max_pool(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    (y,) = _infer_pool(inputs, attrs)
    return y, Spec(y.shape, _INT32)


def _infer_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["input_shape"], inputs[0].dtype),)


def _core_attrs(kind: str, axes: int) -> Callable[[Attrs], Attrs]:
    """How the attributes of a node become the core's; adaptive windows have no size of their own."""
    counts: Attrs = {"count_include_pad": False, "divisor": 0}
    if kind.startswith("adaptive_"):
        found: Attrs = {key: (neutral,) * max(axes, 2) for key, neutral in _SPATIAL.items()}
        if kind.endswith("avg"):
            del found["dilation"]
            found.update(counts)
        return lambda attrs: {**found, "adaptive": 1}
    keys = ("kernel", "stride", *(("dilation",) if kind == "max" else counts))

    def convert(attrs: Attrs) -> Attrs:
        found = {key: attrs[key] for key in keys}
        found["padding"] = tuple([before for before, _ in attrs["padding"]])
        found["adaptive"] = 0
        if axes == 1:
            found.update((key, (neutral, *found[key])) for key, neutral in _SPATIAL.items() if key in found)
        return found

    return convert


def _define(kind: str, axes: int) -> OpDef:
    """Define a pooling op and its gradient op, which takes the attributes of the forward op and the input's shape."""
    name, saves_indices = f"{kind}_pool{axes}d", kind.endswith("max")
    core, core_attrs = f"{kind.removeprefix('adaptive_')}_pool2d", _core_attrs(kind, axes)

    def lower(node: Node) -> list[KernelCall]:
        args = [(value, value.shape) for value in (*node.inputs, *node.outputs)]
        return [KernelCall(core if node.op is forward else f"{core}_grad", core_attrs(node.attrs), args)]

    def grad_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
        attrs = {key: value for key, value in node.attrs.items() if key != "input_shape"}
        return apply(forward, (g,), {**attrs, "output_size": node.inputs[0].shape[2:]})

    grad = define(f"{name}_grad", _infer_grad, gradient=None if saves_indices else grad_gradient, lower=lower)

    def gradient(node: Node, dy: Symbol | None, *_: Symbol | None) -> tuple[Symbol | None, ...]:
        attrs = {"input_shape": node.inputs[0].shape, **node.attrs}
        if saves_indices or kind.startswith("adaptive"):
            attrs.pop("output_size")
        return apply(grad, (dy, node.outputs[1]) if saves_indices else (dy,), attrs)

    forward = define(name, _infer_max_pool if saves_indices else _infer_pool, gradient=gradient, lower=lower)
    return forward


_KINDS = ("max", "avg", "adaptive_max", "adaptive_avg")
POOLS = {(kind, axes): _define(kind, axes) for kind in _KINDS for axes in (1, 2, 3)}


def _output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count  # no window begins beyond the input


def windows(
    function: str, x: Shape, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Attrs, Shape]:
    """Check the windows of a pooling over (N, C, H, W), or more or fewer axes. Returns attributes and output size."""
    axes = len(x) - 2
    kernel = check.sizes(function, "kernel_size", kernel_size, axes, 1)
    strides = kernel if stride is None else check.sizes(function, "stride", stride, axes, 1)
    pads = check.sizes(function, "padding", padding, axes, 0)
    dilations = check.sizes(function, "dilation", dilation, axes, 1)
    ceil = check.boolean(function, "ceil_mode", ceil_mode)
    size = []
    for i, name in enumerate(check.AXES[axes]):
        extent = dilations[i] * (kernel[i] - 1) + 1
        if pads[i] > kernel[i] // 2:
            raise ValueError(
                f"{function}: padding must be at most half of the kernel's {name} {kernel[i]}, found {pads[i]}"
            )
        size.append(_output_size(x[2 + i], kernel[i], strides[i], pads[i], dilations[i], ceil))
        if size[-1] < 1:
            raise ValueError(
                f"{function}: the kernel's {name} {extent} is larger than the padded input's {x[2 + i] + 2 * pads[i]} "
                f"(input: {x}, kernel_size: {kernel}, padding: {pads}, dilation: {dilations})"
            )
    attrs: Attrs = {"kernel": kernel, "stride": strides, "padding": tuple([(pad, pad) for pad in pads])}
    if function.startswith("max"):
        attrs["dilation"] = dilations
    return attrs, tuple(size)


def check_plane(function: str, x: Shape) -> None:
    if product(x[2:]) > check.LARGEST:
        raise ValueError(f"{function}: a map of {' x '.join(map(str, x[2:]))} is too large for int32 indices")


def _forward(op: OpDef, input: Any, attrs: Attrs, batched: bool) -> tuple[Any, ...]:
    if batched:
        return apply(op, (input,), attrs)
    return tuple(drop_batch(value) for value in apply(op, (add_batch(input),), attrs))


def with_indices(outputs: tuple[Any, ...], return_indices: bool) -> Any:
    """The public result: y alone, or with its indices as PyTorch has them."""
    if not return_indices:
        return outputs[0]
    y, indices = outputs
    return y, indices if isinstance(indices, Symbol) else indices.astype(np.int64)


def max_pool(axes: int, input: Any, window: tuple[Any, ...], return_indices: Any) -> Any:
    """The public maxima; window: kernel_size, stride, padding, dilation, ceil_mode."""
    name = f"max_pool{axes}d"
    check.floating(name, input=input)
    x = check.map_shape(name, "input", input.shape, axes)
    check_plane(name, x)
    attrs, size = windows(name, x, *window)
    want = check.boolean(name, "return_indices", return_indices)
    batched = len(input.shape) == axes + 2
    return with_indices(_forward(POOLS["max", axes], input, {**attrs, "output_size": size}, batched), want)


def average(function: str, x: Shape, window: tuple[Any, ...], include: Any, divisor: Any) -> Attrs:
    """Attributes of an average; window: kernel_size, stride, padding, ceil_mode."""
    kernel_size, stride, padding, ceil_mode = window
    attrs, size = windows(function, x, kernel_size, stride, padding, 1, ceil_mode)
    if len(x) == 5 and any(extent > pixels for extent, pixels in zip(attrs["kernel"], x[2:], strict=True)):
        raise ValueError(f"{function}: the kernel {attrs['kernel']} must not be larger than the input {x}")
    include = check.boolean(function, "count_include_pad", include)
    divisor = 0 if divisor is None else check.integer(function, "divisor_override", divisor, 1)
    return {**attrs, "output_size": size, "count_include_pad": include, "divisor": divisor}


def avg_pool(axes: int, input: Any, window: tuple[Any, ...], include: Any, divisor: Any) -> Any:
    """The public means."""
    name = f"avg_pool{axes}d"
    check.floating(name, input=input)
    x = check.map_shape(name, "input", input.shape, axes)
    attrs = average(name, x, window, include, divisor)
    return _forward(POOLS["avg", axes], input, attrs, len(input.shape) == axes + 2)[0]


def adaptive_pool(kind: str, axes: int, input: Any, output_size: Any, return_indices: Any = False) -> Any:
    """The public adaptive pools; kind: "adaptive_max" or "adaptive_avg"."""
    name = f"{kind}_pool{axes}d"
    check.floating(name, input=input)
    x = check.map_shape(name, "input", input.shape, axes)
    if isinstance(output_size, (tuple, list)) and len(output_size) == axes:  # None keeps the input's, as in PyTorch
        output_size = tuple(x[2 + i] if size is None else size for i, size in enumerate(output_size))
    size = check.sizes(name, "output_size", output_size, axes, 1, check.LARGEST)
    check.elements(name, "the result", (*x[:2], *size))
    if kind == "adaptive_max":
        check_plane(name, x)
    want = check.boolean(name, "return_indices", return_indices)
    batched = len(input.shape) == axes + 2
    return with_indices(_forward(POOLS[kind, axes], input, {"output_size": size}, batched), want)


def checked_size(function: str, axes: int, grad_output: Any, input_size: Any) -> tuple[Shape, Shape]:
    """Of a gradient the input's shape, as given and with a batch axis."""
    check.floating(function, grad_output=grad_output)
    shape = check.shape(function, "input_size", input_size)
    return shape, check.map_shape(function, "input_size", shape, axes)


def checked_indices(function: str, indices: Any, x: Shape) -> Any:
    """Indices into the maps of x."""
    check_plane(function, x)
    return check.integers(function, "indices", indices, 0, product(x[2:]) - 1)


def backward(name: str, axes: int, shape: Shape, size: Shape, values: tuple[Any, ...], attrs: Attrs) -> Any:
    """Check grad_output (and indices) against the forward output's shape and apply the gradient op."""
    x = check.map_shape(name, "input_size", shape, axes)
    expected = (*shape[:-axes], *size)
    for argument, value in zip(("grad_output", "indices"), values, strict=False):
        check.same_shape(name, argument, value, expected)
    attrs = {"input_shape": x, **attrs}
    if len(shape) == axes + 2:
        return apply(OPS[name], values, attrs)[0]
    return drop_batch(apply(OPS[name], tuple(add_batch(value) for value in values), attrs)[0])


def max_pool_grad(axes: int, grad_output: Any, indices: Any, input_size: Any, window: tuple[Any, ...]) -> Any:
    """The public gradients of the maxima; window as for `max_pool`."""
    name = f"max_pool{axes}d_grad"
    shape, x = checked_size(name, axes, grad_output, input_size)
    attrs, size = windows(name, x, *window)
    return backward(name, axes, shape, size, (grad_output, checked_indices(name, indices, x)), attrs)


def avg_pool_grad(
    axes: int, grad_output: Any, input_size: Any, window: tuple[Any, ...], include: Any, divisor: Any
) -> Any:
    """The public gradients of the means."""
    name = f"avg_pool{axes}d_grad"
    shape, x = checked_size(name, axes, grad_output, input_size)
    attrs = average(name, x, window, include, divisor)
    return backward(name, axes, shape, attrs["output_size"], (grad_output,), attrs)


def adaptive_pool_grad(kind: str, axes: int, grad_output: Any, input_size: Any, *indices: Any) -> Any:
    """The public gradients of the adaptive pools."""
    name = f"{kind}_pool{axes}d_grad"
    shape, x = checked_size(name, axes, grad_output, input_size)
    if len(grad_output.shape) != len(shape) or 0 in grad_output.shape[-1 - axes :]:
        raise ValueError(
            f"{name}: grad_output must have {len(shape)} axes like input_size, none empty but the batch, "
            f"found {grad_output.shape}"
        )
    places = tuple(checked_indices(name, value, x) for value in indices)
    return backward(name, axes, shape, grad_output.shape[-axes:], (grad_output, *places), {})
