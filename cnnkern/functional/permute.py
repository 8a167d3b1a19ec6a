# SPDX-License-Identifier: BSD-3-Clause
"""Axes in another order, and what is made of that: pixel_shuffle and its inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product

Axes = tuple[int, ...]


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    shape = inputs[0].shape
    return (Spec(tuple(shape[axis] for axis in attrs["axes"]), inputs[0].dtype),)


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    axes = node.attrs["axes"]
    return apply(PERMUTE, (dy,), {"axes": tuple(axes.index(axis) for axis in range(len(axes)))})


def _groups(shape: Shape, axes: Sequence[int]) -> list[list[int]]:
    """The axes of the input that move as one, in their order in the result; axes of size 1 do not count."""
    groups: list[list[int]] = []
    kept = [axis for axis in range(len(shape)) if shape[axis] != 1]
    for axis in axes:
        if shape[axis] == 1:
            continue
        if groups and kept.index(axis) == kept.index(groups[-1][-1]) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _lower(node: Node) -> list[KernelCall]:
    (x,), (y,) = node.inputs, node.outputs
    groups = _groups(x.shape, node.attrs["axes"])
    order = sorted(groups)
    free = 5 - len(groups)
    x_shape = (1,) * free + tuple(product(x.shape[axis] for axis in group) for group in order)
    axes = [*range(free), *(free + order.index(group) for group in groups)]
    y_shape = tuple(x_shape[axis] for axis in axes)
    return [KernelCall("permute", {"axes": axes}, [(x, x_shape), (y, y_shape)])]


PERMUTE = define("permute", _infer, gradient=_gradient, lower=_lower)


def permuted(function: str, input: Any, axes: Axes) -> Any:
    """`permute` by a permutation known to be right."""
    groups = _groups(input.shape, axes)
    if len(groups) <= 1:
        return reshape_to(input, tuple(input.shape[axis] for axis in axes))
    if len(groups) > 5:
        raise ValueError(
            f"{function}: {len(groups)} groups of axes change places, at most five are supported "
            f"(shape {input.shape}, order {axes})"
        )
    return apply(PERMUTE, (input,), {"axes": axes})[0]


def permute(input: Any, dims: Any) -> Any:
    """The axes in the order `dims` (torch.permute): axis i of the result is axis dims[i] of the input.

    dims: a sequence with every axis once. Neighbours that stay neighbours count as one, and at most five may move.
    """
    check.floating("permute", input=input)
    if not isinstance(dims, (tuple, list)):
        raise TypeError(f"permute: dims must be a tuple of integers, found {dims!r}")
    rank = len(input.shape)
    if len(dims) != rank:
        raise ValueError(f"permute: dims must hold each of {rank} axes once, found {tuple(dims)}")
    axes = tuple(check.axis("permute", "dims", dim, rank) for dim in dims)
    if sorted(axes) != list(range(rank)):
        raise ValueError(f"permute: dims must hold each of {rank} axes once, found {tuple(dims)}")
    return permuted("permute", input, axes)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Axes dim0 and dim1 change places (torch.transpose)."""
    check.floating("transpose", input=input)
    rank = len(input.shape)
    one, other = check.axis("transpose", "dim0", dim0, rank), check.axis("transpose", "dim1", dim1, rank)
    if rank == 0:
        return input
    axes = list(range(rank))
    axes[one], axes[other] = other, one
    return permuted("transpose", input, tuple(axes))


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(*, C r^2, H, W) -> (*, C, H r, W r) with r = upscale_factor: channel c r^2 + i r + j goes to rows i, columns j.

    Sub-pixel convolution (Shi et al., 2016). Raises ValueError where r^2 does not divide the channels.
    """
    check.floating("pixel_shuffle", input=input)
    factor = check.integer("pixel_shuffle", "upscale_factor", upscale_factor, 1, check.LARGEST_STEP)
    shape = input.shape
    if len(shape) < 3 or shape[-3] % factor**2:
        raise ValueError(
            f"pixel_shuffle: input must have shape (*, C, H, W) with C divisible by {factor**2}, found {shape}"
        )
    batch, (c, h, w) = shape[:-3], shape[-3:]
    result = (*batch, c // factor**2, h * factor, w * factor)
    split = reshape_to(input, (product(batch) * (c // factor**2), factor, factor, h, w))
    return reshape_to(permuted("pixel_shuffle", split, (0, 3, 1, 4, 2)), result)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(*, C, H r, W r) -> (*, C r^2, H, W) with r = downscale_factor: the inverse of `pixel_shuffle`."""
    check.floating("pixel_unshuffle", input=input)
    factor = check.integer("pixel_unshuffle", "downscale_factor", downscale_factor, 1, check.LARGEST_STEP)
    shape = input.shape
    if len(shape) < 3 or shape[-2] % factor or shape[-1] % factor:
        raise ValueError(
            f"pixel_unshuffle: input must have shape (*, C, H, W) with H and W divisible by {factor}, found {shape}"
        )
    batch, (c, h, w) = shape[:-3], shape[-3:]
    result = (*batch, c * factor**2, h // factor, w // factor)
    split = reshape_to(input, (product(batch) * c, h // factor, factor, w // factor, factor))
    return reshape_to(permuted("pixel_unshuffle", split, (0, 2, 4, 1, 3)), result)
