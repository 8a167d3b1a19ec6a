# SPDX-License-Identifier: BSD-3-Clause
"""Fractional max pooling: windows whose places are drawn at random (Graham, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._draw import drawn_numbers, seed_of
from cnnkern.functional._pooling import check_plane, with_indices
from cnnkern.functional.shape import add_batch, drop_batch
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    shape = (*inputs[0].shape[:2], *attrs["output_size"])
    return Spec(shape, inputs[0].dtype), Spec(shape, np.dtype(np.int32))


def _infer_grad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["input_shape"], inputs[0].dtype),)


def _gradient(node: Node, dy: Symbol | None, *_: Symbol | None) -> tuple[Symbol | None, ...]:
    (dx,) = apply(FRACTIONAL_MAX_POOL_GRAD, (dy, node.outputs[1]), {"input_shape": node.inputs[0].shape})
    return dx, None


def _lower(node: Node) -> list[KernelCall]:
    args = [(value, value.shape) for value in (*node.inputs, *node.outputs)]
    return [KernelCall("fractional_max_pool", {"kernel": node.attrs["kernel"]}, args)]


def _lower_grad(node: Node) -> list[KernelCall]:
    return [KernelCall("max_unpool", {"add": 1}, [(value, value.shape) for value in (*node.inputs, *node.outputs)])]


FRACTIONAL_MAX_POOL = define("fractional_max_pool", _infer, gradient=_gradient, lower=_lower)
FRACTIONAL_MAX_POOL_GRAD = define("fractional_max_pool_grad", _infer_grad, lower=_lower_grad)


def _output_size(name: str, x: Shape, kernel: Shape, output_size: Any, output_ratio: Any) -> Shape:
    axes = len(x) - 2
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name}: output_size or output_ratio must be given")
    if output_size is not None:
        size = check.sizes(name, "output_size", output_size, axes, 0, check.LARGEST)
    else:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * axes
        if len(ratios) != axes:
            raise ValueError(f"{name}: output_ratio must be one number or {axes}, found {output_ratio}")
        numbers = [check.finite(name, "output_ratio", ratio) for ratio in ratios]
        size = tuple(int(pixels * ratio) for pixels, ratio in zip(x[2:], numbers, strict=True))
    for pixels, extent, count in zip(x[2:], kernel, size, strict=True):
        if count < 0 or count + extent - 1 > pixels - (axes - 2):  # PyTorch wants one pixel more of volumes
            raise ValueError(f"{name}: {size} windows of {kernel} do not fit input {x}")
    return size


def _fractional_max_pool(
    axes: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: Any, samples: Any,
    seed: Any,
) -> Any:  # fmt: skip
    name = f"fractional_max_pool{axes}d"
    check.floating(name, ("_random_samples",), input=input, _random_samples=samples)
    seed = seed_of(name, seed)
    x = check.map_shape(name, "input", input.shape, axes)
    check_plane(name, x)
    kernel = check.sizes(name, "kernel_size", kernel_size, axes, 1)
    size = _output_size(name, x, kernel, output_size, output_ratio)
    want = check.boolean(name, "return_indices", return_indices)
    if samples is None:
        samples = drawn_numbers(input, (*x[:2], axes), seed)
    else:
        check.same_shape(name, "_random_samples", samples, (*x[:2], axes))
    batched = len(input.shape) == axes + 2
    attrs = {"kernel": kernel, "output_size": size}
    outputs = apply(FRACTIONAL_MAX_POOL, (input if batched else add_batch(input), samples), attrs)
    return with_indices(outputs if batched else tuple(drop_batch(value) for value in outputs), want)


def fractional_max_pool2d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    seed: int | None = None,
) -> Any:
    """(N, C, H, W) or (C, H, W) -> maxima of output_size windows of kernel_size in random places (Graham, 2014).

    output_ratio: the size of the result by that of the input, where output_size is None. _random_samples: (N, C, 2)
    numbers of [0, 1) instead of random ones, which shift the windows along x and y; seed as for `dropout`.
    return_indices: the places h * W + w of the maxima too (int32). Raises ValueError for windows that do not fit.
    """
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, seed)


def fractional_max_pool3d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    seed: int | None = None,
) -> Any:
    """(N, C, D, H, W) or (C, D, H, W): as `fractional_max_pool2d`; _random_samples (N, C, 3) along z, y and x."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, seed)
