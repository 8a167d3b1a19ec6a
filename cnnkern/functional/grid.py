# SPDX-License-Identifier: BSD-3-Clause
"""Maps read where a grid says: the sampler of spatial transformers (Jaderberg et al., 2015) and its affine grids."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional._pooling import check_plane
from cnnkern.functional.dense import product_of
from cnnkern.functional.permute import permuted
from cnnkern.functional.shape import reshape_to
from cnnkern.graph import Array, Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, define, product

_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
_PADDING = ("zeros", "border", "reflection")


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x, grid = inputs
    return (Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype),)


def _infer_grad_input(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["input_shape"], inputs[0].dtype),)


def _infer_grad_grid(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[2].shape, inputs[0].dtype),)


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    x, grid = node.inputs
    (dx,) = apply(GRAD_INPUT, (dy, grid), {"input_shape": x.shape, **node.attrs})
    return (dx, *apply(GRAD_GRID, (dy, x, grid), node.attrs))


def _places(grid: Any) -> tuple[Any, Shape]:
    return grid, (grid.shape[0], product(grid.shape[1:-1]), grid.shape[-1])


def _rows(y: Any) -> tuple[Any, Shape]:
    return y, (*y.shape[:2], product(y.shape[2:]))


def _call(node: Node, args: list[tuple[Any, Shape | None]]) -> list[KernelCall]:
    attrs = node.attrs
    found = {"taps": _TAPS[attrs["mode"]], "padding": _PADDING.index(attrs["padding_mode"])}
    return [KernelCall(node.op.name, {**found, "align_corners": int(attrs["align_corners"])}, args)]


def _lower(node: Node) -> list[KernelCall]:
    (x, grid), (y,) = node.inputs, node.outputs
    return _call(node, [(x, x.shape), _places(grid), _rows(y)])


def _lower_grad_input(node: Node) -> list[KernelCall]:
    (dy, grid), (dx,) = node.inputs, node.outputs
    return _call(node, [_rows(dy), _places(grid), (dx, dx.shape)])


def _lower_grad_grid(node: Node) -> list[KernelCall]:
    (dy, x, grid), (dgrid,) = node.inputs, node.outputs
    return _call(node, [_rows(dy), (x, x.shape), _places(grid), _places(dgrid)])


GRID_SAMPLE = define("grid_sample", _infer, gradient=_gradient, lower=_lower)
GRAD_INPUT = define("grid_sample_grad_input", _infer_grad_input, lower=_lower_grad_input)
GRAD_GRID = define("grid_sample_grad_grid", _infer_grad_grid, lower=_lower_grad_grid)


def _aligned(function: str, align_corners: Any) -> bool:
    return align_corners is not None and check.boolean(function, "align_corners", align_corners)


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """input (N, C, H, W) read at the places of grid (N, OH, OW, 2) -> (N, C, OH, OW) (Jaderberg et al., 2015).

    The grid holds x and y, -1 .. 1 across the map: the centres of the outer pixels with align_corners, else their outer
    edges. input (N, C, D, H, W) takes a grid (N, OD, OH, OW, 3) of x, y and z. mode: "bilinear" (of three axes
    trilinear), "nearest", or of images "bicubic" (Keys, 1981, a = -0.75). padding_mode: what stands beyond the map,
    "zeros", its "border" or its "reflection". Of the grid, what is not a number counts as -1 and what is infinite lies
    far away. Raises ValueError for shapes that do not fit and for a map without pixels.
    """
    name = "grid_sample"
    check.floating(name, input=input, grid=grid)
    check.choice(name, "mode", mode, ("bilinear", "nearest", "bicubic"))
    check.choice(name, "padding_mode", padding_mode, _PADDING)
    x, axes = input.shape, len(input.shape) - 2
    if axes not in (2, 3):
        raise ValueError(f"{name}: input must have shape (N, C, H, W) or (N, C, D, H, W), found {x}")
    if len(grid.shape) != axes + 2 or grid.shape[0] != x[0] or grid.shape[-1] != axes:
        wanted = f"({x[0]}, {'OD, ' if axes == 3 else ''}OH, OW, {axes})"
        raise ValueError(f"{name}: grid must have shape {wanted} (input: {x}), found {grid.shape}")
    if 0 in x[2:]:
        raise ValueError(f"{name}: input must have pixels, found {x}")
    if axes == 3 and mode == "bicubic":
        raise ValueError(f"{name}: mode 'bicubic' reads images (N, C, H, W), found {x}")
    check_plane(name, x)
    check.elements(name, "input", x)
    check.elements(name, "the result", (*x[:2], *grid.shape[1:-1]))
    attrs = {"mode": mode, "padding_mode": padding_mode, "align_corners": _aligned(name, align_corners)}
    return apply(GRID_SAMPLE, (input, grid), attrs)[0]


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The grid for `grid_sample` of affine maps theta (N, 2, 3), for results of size (N, C, H, W) -> (N, H, W, 2).

    theta (N, 3, 4) and size (N, C, D, H, W) give (N, D, H, W, 3). Place (x, y) of the result, -1 .. 1 across it as
    align_corners says, reads at theta (x, y, 1) (Jaderberg et al., 2015). Raises ValueError for shapes that do not fit.
    """
    name = "affine_grid"
    dtype = check.floating(name, theta=theta)
    full = check.shape(name, "size", size)
    axes = len(full) - 2
    if axes not in (2, 3) or min(full) < 1:
        raise ValueError(f"{name}: size must be (N, C, H, W) or (N, C, D, H, W), nothing empty, found {full}")
    check.same_shape(name, "theta", theta, (full[0], axes, axes + 1))
    spatial = full[2:]
    check.elements(name, "the result", (full[0], *spatial, axes))
    base = _base(spatial, _aligned(name, align_corners), dtype)
    rows = product_of(reshape_to(theta, (full[0] * axes, axes + 1)), base)
    points = permuted(name, reshape_to(rows, (full[0], axes, product(spatial))), (0, 2, 1))
    return reshape_to(points, (full[0], *spatial, axes))


@lru_cache(32)
def _base(size: Shape, align_corners: bool, dtype: np.dtype[Any]) -> Array:
    """x, y[, z] of all places and a row of ones: (3 or 4, places)."""
    axes = []
    for count in size:
        line = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
        axes.append(line if align_corners else line * (count - 1) / count)
    maps = np.meshgrid(*axes, indexing="ij")
    base: Array = np.stack([*(value.ravel() for value in reversed(maps)), np.ones(maps[0].size)]).astype(dtype)
    base.flags.writeable = False
    return base
