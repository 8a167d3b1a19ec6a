# SPDX-License-Identifier: BSD-3-Clause
"""Weighted sums of places along one axis, by a table: what interpolation, flips and continued borders are made of.

`resample` has the inputs (x, start, index, weight, back_start, back_index, back_weight): along `axis`
y[i] = sum over t in start[i] .. start[i + 1] - 1 of weight[t] x[index[t]]; the last three are the transposed table, by
which the gradient is resampled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cnnkern.functional import _check as check
from cnnkern.functional._lowering import around, position
from cnnkern.graph import Array, Attrs, KernelCall, Node, Spec, Symbol, apply, define


class Table(NamedTuple):
    """start (out + 1), source (taps), weight (taps), and the same three the other way round."""

    start: Array
    source: Array
    weight: Array
    back_start: Array
    back_source: Array
    back_weight: Array


def table(counts: npt.ArrayLike, index: npt.ArrayLike, weight: npt.ArrayLike, size: int, dtype: Any) -> Table:
    """The table of an axis of `size` whose place i is made of counts[i] taps, given one after the other."""
    counts, index = np.asarray(counts, np.int64), np.asarray(index, np.int32)
    factors = np.asarray(weight, dtype)
    order = np.argsort(index, kind="stable")
    places = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    back = np.bincount(index, minlength=size)
    return Table(_starts(counts), index, factors, _starts(back), places[order], factors[order])


def _starts(counts: Array) -> Array:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    x, start = inputs[:2]
    axis = attrs["axis"]
    return (Spec((*x.shape[:axis], start.shape[0] - 1, *x.shape[axis + 1 :]), x.dtype),)


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    forth, back = node.inputs[1:4], node.inputs[4:]
    return (*apply(RESAMPLE, (dy, *back, *forth), node.attrs), *[None] * 6)


def _lower(node: Node) -> list[KernelCall]:
    (x, start, index, weight, *_), (y,) = node.inputs, node.outputs
    axis, x_shape, y_shape = node.attrs["axis"], x.shape, y.shape
    if len(x_shape) > 5:
        x_shape, y_shape, axis = around(x_shape, axis), around(y_shape, axis), 1
    tables = [(value, value.shape) for value in (start, index, weight)]
    return [KernelCall("resample", {"axis": position(len(x_shape), axis)}, [(x, x_shape), *tables, (y, y_shape)])]


RESAMPLE = define("resample", _infer, gradient=_gradient, lower=_lower)


def resampled(input: Any, axis: int, by: Table) -> Any:
    """`input` along `axis` by a table of its dtype."""
    return apply(RESAMPLE, (input, *by), {"axis": axis})[0]


def gathered(input: Any, axis: int, index: npt.ArrayLike) -> Any:
    """Places `index` of an axis. Equal indices share one table."""
    places = np.asarray(index, np.int32)
    return resampled(input, axis, _gather_table(places.tobytes(), input.shape[axis], np.dtype(input.dtype)))


@lru_cache(256)
def _gather_table(places: bytes, size: int, dtype: np.dtype[Any]) -> Table:
    index = np.frombuffer(places, np.int32)
    return table(np.ones(len(index)), index, np.ones(len(index)), size, dtype)


def flip(input: Any, dims: Any) -> Any:
    """The order along the axes `dims` reversed (torch.flip)."""
    check.floating("flip", input=input)
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    axes = [check.axis("flip", "dims", dim, len(input.shape)) for dim in dims]
    if len(set(axes)) != len(axes):
        raise ValueError(f"flip: dims names an axis twice: {tuple(dims)}")
    for axis in axes:
        if input.shape and input.shape[axis] > 1:
            input = gathered(input, axis, np.arange(input.shape[axis])[::-1])
    return input


def channel_shuffle(input: Any, groups: int) -> Any:
    """(N, C, ...), C = groups * n: channel i of group g goes to place i * groups + g (Zhang et al., 2018: ShuffleNet).

    Raises ValueError for fewer than three axes or groups that do not divide the channels.
    """
    check.floating("channel_shuffle", input=input)
    groups = check.integer("channel_shuffle", "groups", groups, 1)
    shape = input.shape
    if len(shape) < 3:
        raise ValueError(f"channel_shuffle: input must have shape (N, C, ...) of three axes or more, found {shape}")
    if shape[1] % groups:
        raise ValueError(f"channel_shuffle: groups={groups} must divide the {shape[1]} channels")
    if groups in (1, shape[1]):
        return input
    return gathered(input, 1, np.arange(shape[1]).reshape(groups, -1).T.ravel())
