# SPDX-License-Identifier: BSD-3-Clause
"""Helpers of the `lower` rules: how values of any rank are shown to the core, which knows ranks 1 to 5.

The core reads rank 2 as (N, C), 3 as (N, C, W), 4 as (N, C, H, W), 5 as (N, C, D, H, W) and rank 1 as (1, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from cnnkern.graph import Attrs, KernelCall, Node, Shape, product

_POSITIONS = {1: (1,), 2: (0, 1), 3: (0, 1, 4), 4: (0, 1, 3, 4), 5: (0, 1, 2, 3, 4)}


def shape_of(value: Any) -> Shape:
    """The shape under which an elementwise kernel takes a value: its own, or flat where the core has no such rank."""
    shape: Shape = value.shape
    return shape if 0 < len(shape) <= 5 else (product(shape),)


def elementwise(op: str, attrs: Attrs, node: Node) -> list[KernelCall]:
    """A call on inputs and outputs that all have one shape."""
    shape = shape_of(node.outputs[0])
    return [KernelCall(op, attrs, [(value, shape) for value in (*node.inputs, *node.outputs)])]


def offsets(before: Sequence[int]) -> list[int]:
    """Offsets along the axes of a value of rank 1 to 5, as the core's five (N, C, D, H, W)."""
    result = [0] * 5
    for position, offset in zip(_POSITIONS[len(before)], before, strict=True):
        result[position] = offset
    return result


def position(rank: int, axis: int) -> int:
    """Which of the core's N, C, D, H, W an axis of a value of rank 1 to 5 is."""
    return _POSITIONS[rank][axis]


def around(shape: Shape, axis: int) -> Shape:
    """(outer, size, inner) of an axis."""
    return product(shape[:axis]), shape[axis], product(shape[axis + 1 :])


def merged(function: str, shapes: Sequence[Shape]) -> list[Shape]:
    """Shapes of one rank (each axis of each either the largest one's or 1) with at most five axes.

    More axes than that are merged where neighbours are broadcast alike; ValueError if too many are left.
    """
    rank = len(shapes[0])
    if rank == 0:
        return [(1,)] * len(shapes)
    if rank <= 5:
        return list(shapes)
    full = [max(shape[axis] for shape in shapes) for axis in range(rank)]
    pattern = [tuple(shape[axis] == full[axis] for shape in shapes) for axis in range(rank) if full[axis] != 1]
    sizes = [[shape[axis] for axis in range(rank) if full[axis] != 1] for shape in shapes]
    groups = [len(list(group)) for _, group in groupby(pattern)]
    if len(groups) > 5:
        raise ValueError(
            f"{function}: broadcasting over {len(groups)} groups of axes, at most five are supported (shapes {shapes})"
        )
    result = []
    for row in sizes:
        it = iter(row)
        result.append(tuple(product(next(it) for _ in range(count)) for count in groups) or (1,))
    return result
