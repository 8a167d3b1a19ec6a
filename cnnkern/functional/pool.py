# SPDX-License-Identifier: BSD-3-Clause
"""Pooling over windows of feature maps, fixed and adaptive, and the gradients. Global pooling is adaptive to size 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.shape import add_batch, drop_batch
from cnnkern.graph import OPS, Attrs, KernelCall, Node, OpDef, Shape, Spec, Symbol, apply, define, product

_INT32 = np.dtype(np.int32)


def _infer_pool(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x = inputs[0]
    return (Spec((*x.shape[:2], *attrs["output_size"]), x.dtype),)


def _infer_max_pool(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    (y,) = _infer_pool(inputs, attrs)
    return y, Spec(y.shape, _INT32)


def _infer_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["input_shape"], inputs[0].dtype),)


_ADAPTIVE = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "adaptive": 1}
_CORE_KEYS = ("kernel", "stride", "dilation", "count_include_pad", "divisor")


def _lower(node: Node) -> list[KernelCall]:
    name = node.op.name
    if name.startswith("adaptive_"):
        name = name.removeprefix("adaptive_")
        attrs: Attrs = dict(_ADAPTIVE)
        if name.startswith("max"):
            attrs["dilation"] = (1, 1)
        else:
            attrs.update(count_include_pad=False, divisor=0)
    else:
        (top, _), (left, _) = node.attrs["padding"]
        attrs = {"padding": (top, left), "adaptive": 0}
        attrs.update((key, node.attrs[key]) for key in _CORE_KEYS if key in node.attrs)
    return [KernelCall(name, attrs, [(value, value.shape) for value in (*node.inputs, *node.outputs)])]


def _pool(name: str, infer: Any, saves_indices: bool) -> OpDef:
    """Define a pooling op and its gradient op, which takes the attributes of the forward op and the input's shape."""

    def grad_gradient(node: Node, g: Symbol) -> tuple[Symbol | None, ...]:
        attrs = {key: value for key, value in node.attrs.items() if key != "input_shape"}
        return apply(forward, (g,), {**attrs, "output_size": node.inputs[0].shape[2:]})

    grad = define(f"{name}_grad", _infer_grad, gradient=None if saves_indices else grad_gradient, lower=_lower)

    def gradient(node: Node, dy: Symbol | None, *_: Symbol | None) -> tuple[Symbol | None, ...]:
        attrs = {"input_shape": node.inputs[0].shape, **node.attrs}
        if saves_indices or name.startswith("adaptive"):
            attrs.pop("output_size")
        return apply(grad, (dy, node.outputs[1]) if saves_indices else (dy,), attrs)

    forward = define(name, infer, gradient=gradient, lower=_lower)
    return forward


MAX_POOL2D = _pool("max_pool2d", _infer_max_pool, True)
AVG_POOL2D = _pool("avg_pool2d", _infer_pool, False)
ADAPTIVE_MAX_POOL2D = _pool("adaptive_max_pool2d", _infer_max_pool, True)
ADAPTIVE_AVG_POOL2D = _pool("adaptive_avg_pool2d", _infer_pool, False)


def _output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count  # no window begins beyond the input


def _windows(
    function: str, x: Shape, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Attrs, tuple[int, int]]:
    """Check the windows of a pooling over (N, C, H, W). Returns attributes and output size."""
    kernel = check.pair(function, "kernel_size", kernel_size, 1)
    strides = kernel if stride is None else check.pair(function, "stride", stride, 1)
    pads = check.pair(function, "padding", padding, 0)
    dilations = check.pair(function, "dilation", dilation, 1)
    ceil = check.boolean(function, "ceil_mode", ceil_mode)
    size = []
    for i, name in ((0, "height"), (1, "width")):
        extent = dilations[i] * (kernel[i] - 1) + 1
        if pads[i] > extent // 2:
            raise ValueError(
                f"{function}: padding must be at most half of the kernel's {name} {extent}, found {pads[i]}"
            )
        if extent > x[2 + i] + 2 * pads[i]:
            raise ValueError(
                f"{function}: the kernel's {name} {extent} is larger than the padded input's {x[2 + i] + 2 * pads[i]} "
                f"(input: {x}, kernel_size: {kernel}, padding: {pads}, dilation: {dilations})"
            )
        size.append(_output_size(x[2 + i], kernel[i], strides[i], pads[i], dilations[i], ceil))
    attrs: Attrs = {"kernel": kernel, "stride": strides, "padding": ((pads[0], pads[0]), (pads[1], pads[1]))}
    if function.startswith("max"):
        attrs["dilation"] = dilations
    return attrs, (size[0], size[1])


def _check_plane(function: str, x: Shape) -> None:
    if x[2] * x[3] > check.LARGEST:
        raise ValueError(f"{function}: a plane of {x[2]} x {x[3]} is too large for int32 indices")


def _forward(op: OpDef, input: Any, attrs: Attrs) -> tuple[Any, ...]:
    if len(input.shape) == 4:
        return apply(op, (input,), attrs)
    return tuple(drop_batch(value) for value in apply(op, (add_batch(input),), attrs))


def _with_indices(outputs: tuple[Any, ...], return_indices: bool) -> Any:
    if not return_indices:
        return outputs[0]
    y, indices = outputs
    return y, indices if isinstance(indices, Symbol) else indices.astype(np.int64)


def _divisor(function: str, divisor_override: Any) -> int:
    return 0 if divisor_override is None else check.integer(function, "divisor_override", divisor_override, 1)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, H, W) or (C, H, W); NaN is greater than all, of equals the first counts.

    stride defaults to kernel_size; ceil_mode lets the last windows hang over the edge. With return_indices also returns
    where each maximum lies, h * W + w in its plane (int64; while tracing an int32 Symbol).
    Raises TypeError for wrong types, ValueError for windows that do not fit.
    """
    check.floating("max_pool2d", input=input)
    x = check.maps("max_pool2d", "input", input)
    _check_plane("max_pool2d", x)
    attrs, size = _windows("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    want = check.boolean("max_pool2d", "return_indices", return_indices)
    return _with_indices(_forward(MAX_POOL2D, input, {**attrs, "output_size": size}), want)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean of each window of (N, C, H, W) or (C, H, W); stride and ceil_mode as for `max_pool2d`.

    Zeros of the padding count as elements if count_include_pad; divisor_override divides the sum instead.
    """
    check.floating("avg_pool2d", input=input)
    x = check.maps("avg_pool2d", "input", input)
    attrs = _average(x, "avg_pool2d", kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _forward(AVG_POOL2D, input, attrs)[0]


def _average(
    x: Shape, function: str, kernel: Any, stride: Any, padding: Any, ceil: Any, include: Any, divisor: Any
) -> Attrs:
    attrs, size = _windows(function, x, kernel, stride, padding, 1, ceil)
    include = check.boolean(function, "count_include_pad", include)
    return {**attrs, "output_size": size, "count_include_pad": include, "divisor": _divisor(function, divisor)}


def _adaptive_size(function: str, output_size: Any, x: Shape) -> tuple[int, int]:
    if isinstance(output_size, (tuple, list)) and len(output_size) == 2:  # None keeps the input's size, as in PyTorch
        output_size = tuple(x[2 + i] if size is None else size for i, size in enumerate(output_size))
    size = check.pair(function, "output_size", output_size, 1, check.LARGEST)
    check.elements(function, "the result", (*x[:2], *size))
    return size


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Mean over windows [floor(i H / OH), ceil((i + 1) H / OH)) of (N, C, H, W) or (C, H, W).

    output_size: one integer or (OH, OW), None in a place keeps the input's. Size 1 is global average pooling.
    """
    check.floating("adaptive_avg_pool2d", input=input)
    x = check.maps("adaptive_avg_pool2d", "input", input)
    size = _adaptive_size("adaptive_avg_pool2d", output_size, x)
    return _forward(ADAPTIVE_AVG_POOL2D, input, {"output_size": size})[0]


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the windows of `adaptive_avg_pool2d`; indices as of `max_pool2d`. Size 1 is global max pooling."""
    check.floating("adaptive_max_pool2d", input=input)
    x = check.maps("adaptive_max_pool2d", "input", input)
    _check_plane("adaptive_max_pool2d", x)
    size = _adaptive_size("adaptive_max_pool2d", output_size, x)
    want = check.boolean("adaptive_max_pool2d", "return_indices", return_indices)
    return _with_indices(_forward(ADAPTIVE_MAX_POOL2D, input, {"output_size": size}), want)


def _backward(name: str, shape: Shape, size: tuple[int, int], values: tuple[Any, ...], attrs: Attrs) -> Any:
    """Check grad_output (and indices) against the forward output's shape and apply the gradient op."""
    x = check.map_shape(name, "input_size", shape)
    expected = (*shape[:-2], *size)
    for argument, value in zip(("grad_output", "indices"), values, strict=False):
        check.same_shape(name, argument, value, expected)
    attrs = {"input_shape": x, **attrs}
    if len(shape) == 4:
        return apply(OPS[name], values, attrs)[0]
    return drop_batch(apply(OPS[name], tuple(add_batch(value) for value in values), attrs)[0])


def _checked_size(function: str, grad_output: Any, input_size: Any) -> tuple[Shape, Shape]:
    """The input's shape, as given and with a batch axis."""
    check.floating(function, grad_output=grad_output)
    shape = check.shape(function, "input_size", input_size)
    return shape, check.map_shape(function, "input_size", shape)


def _indices(function: str, indices: Any, x: Shape) -> Any:
    _check_plane(function, x)
    return check.integers(function, "indices", indices, 0, product(x[2:]) - 1)


def max_pool2d_grad(
    grad_output: Any,
    indices: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Gradient of `max_pool2d`: each element of grad_output goes to its place in `indices`; several there add up.

    grad_output and indices have the shape of max_pool2d's result, input_size is the shape of its input; the windows are
    given as there. Returns an array of shape input_size.
    """
    shape, x = _checked_size("max_pool2d_grad", grad_output, input_size)
    attrs, size = _windows("max_pool2d_grad", x, kernel_size, stride, padding, dilation, ceil_mode)
    indices = _indices("max_pool2d_grad", indices, x)
    return _backward("max_pool2d_grad", shape, size, (grad_output, indices), attrs)


def avg_pool2d_grad(
    grad_output: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Gradient of `avg_pool2d`: grad_output has the shape of its result, input_size is the shape of its input."""
    shape, x = _checked_size("avg_pool2d_grad", grad_output, input_size)
    attrs = _average(x, "avg_pool2d_grad", kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _backward("avg_pool2d_grad", shape, attrs["output_size"], (grad_output,), attrs)


def _map_size(function: str, name: str, value: Any, rank: int) -> tuple[int, int]:
    if len(value.shape) != rank or 0 in value.shape[-3:]:
        raise ValueError(
            f"{function}: {name} must have {rank} axes like input_size, none empty but the batch, found {value.shape}"
        )
    return value.shape[-2], value.shape[-1]


def adaptive_avg_pool2d_grad(grad_output: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_avg_pool2d`: grad_output has its result's shape, input_size is its input's shape."""
    name = "adaptive_avg_pool2d_grad"
    shape, _ = _checked_size(name, grad_output, input_size)
    return _backward(name, shape, _map_size(name, "grad_output", grad_output, len(shape)), (grad_output,), {})


def adaptive_max_pool2d_grad(grad_output: Any, indices: Any, input_size: Any) -> Any:
    """Gradient of `adaptive_max_pool2d`; arguments as of `max_pool2d_grad`."""
    name = "adaptive_max_pool2d_grad"
    shape, x = _checked_size(name, grad_output, input_size)
    indices = _indices(name, indices, x)
    return _backward(name, shape, _map_size(name, "grad_output", grad_output, len(shape)), (grad_output, indices), {})
