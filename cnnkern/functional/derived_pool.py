# SPDX-License-Identifier: BSD-3-Clause
"""What is made of pooling: minima, norms of windows, and the partial inverse of a maximum."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional._pooling import avg_pool, check_plane, checked_indices, max_pool
from cnnkern.functional.elementwise import multiply, negative, pow
from cnnkern.functional.shape import add_batch, drop_batch
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer_unpool(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x = inputs[0]
    return (Spec((*x.shape[:2], *attrs["output_size"]), x.dtype),)


def _infer_unpool_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[1].shape, inputs[0].dtype),)


def _lower_unpool(node: Node) -> list[KernelCall]:
    (x, indices), (y,) = node.inputs, node.outputs
    return [KernelCall("max_unpool", {}, [(x, x.shape), (indices, indices.shape), (y, y.shape)])]


def _lower_unpool_grad(node: Node) -> list[KernelCall]:
    (dy, indices), (dx,) = node.inputs, node.outputs
    return [KernelCall("max_unpool_grad", {}, [(dy, dy.shape), (dx, dx.shape), (indices, indices.shape)])]


def _unpool_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    return (*apply(MAX_UNPOOL_GRAD, (dy, node.inputs[1]), {}), None)


MAX_UNPOOL = define("max_unpool", _infer_unpool, gradient=_unpool_gradient, lower=_lower_unpool)
MAX_UNPOOL_GRAD = define("max_unpool_grad", _infer_unpool_grad, lower=_lower_unpool_grad)


def _unpooled_size(function: str, x: Shape, window: tuple[Any, ...], output_size: Any) -> Shape:
    """The size that a pooling with this window came from: the largest, or one given that is as likely."""
    axes = len(x) - 2
    kernel_size, stride, padding = window
    kernel = check.sizes(function, "kernel_size", kernel_size, axes, 1)
    strides = kernel if stride is None else check.sizes(function, "stride", stride, axes, 1)
    pads = check.sizes(function, "padding", padding, axes, 0)
    rows = zip(x[2:], strides, kernel, pads, strict=True)
    usual = tuple((size - 1) * step + extent - 2 * pad for size, step, extent, pad in rows)
    if output_size is None:
        size = usual
    else:
        size = check.shape(function, "output_size", output_size)
        size = size[2:] if len(size) == axes + 2 else size
        near = len(size) == axes and all(abs(a - b) < step for a, b, step in zip(size, usual, strides, strict=True))
        if not near:
            raise ValueError(f"{function}: output_size must be within stride {strides} of {usual}, found {size}")
    if min(size) < 1:
        raise ValueError(f"{function}: the result would have size {size} (input: {x}, padding: {pads})")
    return size


def _max_unpool(axes: int, input: Any, indices: Any, window: tuple[Any, ...], output_size: Any) -> Any:
    name = f"max_unpool{axes}d"
    check.floating(name, input=input)
    x = check.map_shape(name, "input", input.shape, axes)
    size = _unpooled_size(name, x, window, output_size)
    y = check.elements(name, "the result", (*x[:2], *size))
    check_plane(name, y)
    places = checked_indices(name, indices, y)
    check.same_shape(name, "indices", places, input.shape)
    if len(input.shape) == axes + 2:
        return apply(MAX_UNPOOL, (input, places), {"output_size": size})[0]
    return drop_batch(apply(MAX_UNPOOL, (add_batch(input), add_batch(places)), {"output_size": size})[0])


def _min_pool(axes: int, input: Any, window: tuple[Any, ...], return_indices: Any) -> Any:
    name = f"min_pool{axes}d"
    check.floating(name, input=input)
    try:
        found = max_pool(axes, negative(input), window, return_indices)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("max_pool", "min_pool", 1)) from None
    return (negative(found[0]), found[1]) if return_indices else negative(found)


def _lp_pool(axes: int, input: Any, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: Any) -> Any:
    name = f"lp_pool{axes}d"
    check.floating(name, input=input)
    power = check.number(name, "norm_type", norm_type)
    if power == 0:
        raise ValueError(f"{name}: norm_type must not be 0")
    pixels = product(check.sizes(name, "kernel_size", kernel_size, axes, 1))
    try:
        mean = avg_pool(axes, pow(input, power), (kernel_size, stride, 0, ceil_mode), True, None)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("avg_pool", "lp_pool", 1)) from None
    return pow(multiply(mean, pixels), 1.0 / power)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """The partial inverse of `max_pool1d`, as `max_unpool2d`."""
    return _max_unpool(1, input, indices, (kernel_size, stride, padding), output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """The partial inverse of `max_pool2d` (Zeiler and Fergus, 2014): input at the places `indices`, 0 elsewhere.

    input: (N, C, OH, OW) or (C, OH, OW); indices: of its shape, as max_pool2d returns them. The windows are those of
    max_pool2d; output_size, (H, W) or the whole shape, says which of the sizes that give OH, OW is meant. Where indices
    are equal the last counts. Raises TypeError for wrong types, ValueError for what does not fit.
    """
    return _max_unpool(2, input, indices, (kernel_size, stride, padding), output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """The partial inverse of `max_pool3d`, as `max_unpool2d`."""
    return _max_unpool(3, input, indices, (kernel_size, stride, padding), output_size)


def min_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Minimum of each window of (N, C, L) or (C, L); arguments and errors as of `max_pool1d`, NaN wins too."""
    return _min_pool(1, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def min_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Minimum of each window of (N, C, H, W) or (C, H, W); arguments and errors as of `max_pool2d`, NaN wins too."""
    return _min_pool(2, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def min_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Minimum of each window of (N, C, D, H, W) or (C, D, H, W); else as `max_pool3d`, NaN wins too."""
    return _min_pool(3, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-norm of each window of (N, C, L) or (C, L), as `lp_pool2d`."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-norm of each window of (N, C, H, W) or (C, H, W): (sum of x^norm_type) ^ (1 / norm_type).

    stride defaults to kernel_size. A window that ceil_mode lets hang over the edge counts as if it were full of its
    mean. NaN for negative sums of odd powers. Raises TypeError for wrong types, ValueError for what does not fit.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-norm of each window of (N, C, D, H, W) or (C, D, H, W), as `lp_pool2d`."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
