# SPDX-License-Identifier: BSD-3-Clause
"""Operations that move or sum elements: reshape, flatten, concat, slice, pad, and the sum that undoes broadcasting."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._lowering import around, merged, offsets
from cnnkern.graph import OPS, Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product


def _infer_from_attrs(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["shape"], inputs[0].dtype),)


def _reshape_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    return (reshape_to(dy, node.inputs[0].shape),)


RESHAPE = define("reshape", _infer_from_attrs, gradient=_reshape_gradient, lower=lambda node: [])


def reshape_to(value: Any, shape: Shape) -> Any:
    """`reshape` for a shape known to be right."""
    return value if value.shape == shape else apply(RESHAPE, (value,), {"shape": shape})[0]


def add_batch(value: Any) -> Any:
    """(C, H, W) -> (1, C, H, W)."""
    return reshape_to(value, (1, *value.shape)) if isinstance(value, Symbol) else value[None]


def drop_batch(value: Any) -> Any:
    """(1, C, H, W) -> (C, H, W)."""
    return reshape_to(value, value.shape[1:]) if isinstance(value, Symbol) else value[0]


def _lower_sum_to(node: Node) -> list[KernelCall]:
    (x,), (y,) = node.inputs, node.outputs
    shapes = merged("sum_to", [x.shape, y.shape])
    return [KernelCall("sum_to", {"scale": node.attrs["scale"]}, [(x, shapes[0]), (y, shapes[1])])]


def _sum_to_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    shape = node.inputs[0].shape
    factor = np.full((1,) * len(shape), node.attrs["scale"], dy.dtype)
    return apply(EXPAND, (dy, factor), {"shape": shape})


def _lower_expand(node: Node) -> list[KernelCall]:
    x, factor, y = *node.inputs, *node.outputs
    shapes = merged("expand", [x.shape, factor.shape, y.shape])
    return [KernelCall("binary", {"function": "multiply"}, list(zip((x, factor, y), shapes, strict=True)))]


def _expand_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    x, factor = node.inputs
    return apply(OPS["multiply"], (sum_axes(dy, x.shape), factor), {})[0], None


EXPAND = define("expand", _infer_from_attrs, gradient=_expand_gradient, lower=_lower_expand)
SUM_TO = define("sum_to", _infer_from_attrs, gradient=_sum_to_gradient, lower=_lower_sum_to)


def sum_axes(value: Any, shape: Shape, scale: float = 1.0) -> Any:
    """Sum `value` over the axes that are 1 in `shape` (of the same rank), times `scale`."""
    if value.shape == shape and scale == 1.0:
        return value
    return apply(SUM_TO, (value,), {"shape": shape, "scale": scale})[0]


def unbroadcast(gradient: Any, shape: Shape) -> Any:
    """Sum a gradient to the shape that was broadcast to it."""
    padded = (1,) * (len(gradient.shape) - len(shape)) + tuple(shape)
    return reshape_to(sum_axes(gradient, padded), tuple(shape))


def per_channel(value: Any, like: Any) -> Any:
    """A value that is broadcast to `like` (of the same rank), with all its channels where a plan wants them.

    Maps in blocks of channels cannot be broadcast along these; repeating a small value is cheaper than a reorder.
    """
    if not isinstance(like, Symbol) or len(like.shape) < 2 or value.shape[1] == like.shape[1]:
        return value
    one = np.ones((1,) * len(like.shape), value.dtype)
    return apply(EXPAND, (value, one), {"shape": (value.shape[0], like.shape[1], *value.shape[2:])})[0]


def _infer_concat(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    axis, shape = attrs["axis"], inputs[0].shape
    size = sum(value.shape[axis] for value in inputs)
    return (Spec((*shape[:axis], size, *shape[axis + 1 :]), inputs[0].dtype),)


def _around_if_large(shape: Shape, axis: int) -> tuple[Shape, int]:
    """A shape and axis that the core can take: as given up to rank 5, else (outer, size, inner)."""
    return (shape, axis) if len(shape) <= 5 else (around(shape, axis), 1)


def _copy(x: Any, x_shape: Shape, y: Any, y_shape: Shape, axis: int, offset: int) -> KernelCall:
    before = [0] * len(x_shape)
    before[axis] = offset
    return KernelCall("copy", {"offset": offsets(before), "fill": 0, "value": 0.0}, [(x, x_shape), (y, y_shape)])


def _lower_concat(node: Node) -> list[KernelCall]:
    (y,) = node.outputs
    calls, start = [], 0
    for x in node.inputs:
        size = x.shape[node.attrs["axis"]]
        if product(x.shape):
            y_shape, axis = _around_if_large(y.shape, node.attrs["axis"])
            x_shape, _ = _around_if_large(x.shape, node.attrs["axis"])
            calls.append(_copy(x, x_shape, y, y_shape, axis, start))
        start += size
    return calls


def _concat_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    axis, start, result = node.attrs["axis"], 0, []
    for x in node.inputs:
        stop = start + x.shape[axis]
        result.append(apply(SLICE, (dy,), {"axis": axis, "start": start, "stop": stop})[0])
        start = stop
    return tuple(result)


CONCAT = define("concat", _infer_concat, gradient=_concat_gradient, lower=_lower_concat)


def _infer_slice(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    axis, shape = attrs["axis"], inputs[0].shape
    return (Spec((*shape[:axis], attrs["stop"] - attrs["start"], *shape[axis + 1 :]), inputs[0].dtype),)


def _lower_slice(node: Node) -> list[KernelCall]:
    (x,), (y,) = node.inputs, node.outputs
    x_shape, axis = _around_if_large(x.shape, node.attrs["axis"])
    y_shape, _ = _around_if_large(y.shape, node.attrs["axis"])
    return [_copy(x, x_shape, y, y_shape, axis, -node.attrs["start"])]


def _slice_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    shape, axis = node.inputs[0].shape, node.attrs["axis"]
    padding = [(0, 0)] * len(shape)
    padding[axis] = (node.attrs["start"], shape[axis] - node.attrs["stop"])
    return (apply(PAD, (dy,), {"padding": tuple(padding), "value": 0.0})[0],)


SLICE = define("slice", _infer_slice, gradient=_slice_gradient, lower=_lower_slice)


def _infer_pad(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    shape = tuple(size + sum(extra) for size, extra in zip(inputs[0].shape, attrs["padding"], strict=True))
    return (Spec(shape, inputs[0].dtype),)


def _lower_pad(node: Node) -> list[KernelCall]:
    (x,), (y,) = node.inputs, node.outputs
    rows = [(x.shape[i], y.shape[i], *pair) for i, pair in enumerate(node.attrs["padding"])]
    while len(rows) > 5:  # `pad` has checked that there are neighbours to merge
        at = next(i for i, (one, two) in enumerate(pairwise(rows)) if one[2:] == (0, 0) == two[2:])
        size = rows[at][0] * rows[at + 1][0]
        rows[at : at + 2] = [(size, size, 0, 0)]
    if not rows:
        rows = [(1, 1, 0, 0)]
    attrs = {"offset": offsets([row[2] for row in rows]), "fill": 1, "value": node.attrs["value"]}
    return [KernelCall("copy", attrs, [(x, tuple(row[0] for row in rows)), (y, tuple(row[1] for row in rows))])]


def _pad_gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    padding = tuple((-before, -after) for before, after in node.attrs["padding"])
    return (apply(PAD, (dy,), {"padding": padding, "value": 0.0})[0],)


PAD = define("pad", _infer_pad, gradient=_pad_gradient, lower=_lower_pad)


def reshape(input: Any, shape: Any) -> Any:
    """The same elements in another shape; one size may be -1 (what is left). Of an array a view where possible."""
    check.floating("reshape", input=input)
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"reshape: shape must be a tuple of integers, found {shape!r}")
    sizes = [check.integer("reshape", "shape", size, -1) for size in shape]
    total = product(input.shape)
    if sizes.count(-1) > 1:
        raise ValueError(f"reshape: only one size can be -1, found {tuple(sizes)}")
    if -1 in sizes:
        known = product(size for size in sizes if size != -1)
        if known == 0 or total % known:
            raise ValueError(f"reshape: {total} elements of shape {input.shape} do not fill {tuple(sizes)}")
        sizes[sizes.index(-1)] = total // known
    if product(sizes) != total:
        raise ValueError(f"reshape: shape {input.shape} has {total} elements, {tuple(sizes)} has {product(sizes)}")
    return reshape_to(input, tuple(sizes))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Make one axis of the axes start_dim to end_dim (as torch.flatten: all of them unless told otherwise)."""
    check.floating("flatten", input=input)
    rank = len(input.shape)
    start, end = check.axis("flatten", "start_dim", start_dim, rank), check.axis("flatten", "end_dim", end_dim, rank)
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input.shape
    return reshape_to(input, (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


def concat(tensors: Any, dim: int = 0) -> Any:
    """Concatenate arrays along an axis; all other sizes must agree (torch.concat)."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"concat: tensors must be a tuple or list of arrays, found {type(tensors).__name__}")
    if not tensors:
        raise ValueError("concat: there must be at least one array")
    check.floating("concat", **{f"tensors[{index}]": value for index, value in enumerate(tensors)})
    first = tensors[0].shape
    if not first:
        raise ValueError("concat: arrays without axes cannot be concatenated")
    axis = check.axis("concat", "dim", dim, len(first))
    for index, value in enumerate(tensors):
        shape = value.shape
        if len(shape) != len(first) or (*shape[:axis], *shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]):
            raise ValueError(
                f"concat: all sizes but that of axis {axis} must agree, found {first} and {shape} (tensors[{index}])"
            )
    check.elements("concat", "the result", _infer_concat(tensors, {"axis": axis})[0].shape)
    return apply(CONCAT, tuple(tensors), {"axis": axis})[0]
