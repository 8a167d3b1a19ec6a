# SPDX-License-Identifier: BSD-3-Clause
"""Borders around arrays: a constant, the outermost value, a mirror image, the other end; and cropping."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern.functional import _check as check
from cnnkern.functional.resample import gathered
from cnnkern.functional.shape import PAD
from cnnkern.graph import Array, Shape, apply

_CONTINUATIONS = ("replicate", "reflect", "circular")
Amounts = list[tuple[int, int]]


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Put `value` (default 0) around an array; negative amounts crop.

    pad: (before, after) of the last axis, then of the one before it, and so on, as one flat sequence (PyTorch's order).
    mode: "constant"; "replicate" repeats the outermost value, "reflect" mirrors at it, "circular" goes on at the other
    end. These three take no value, and as many axes as PyTorch lets them: all but the first one or two, at most three.
    Raises TypeError for wrong types, ValueError for amounts that do not fit.
    """
    check.floating("pad", input=input)
    check.choice("pad", "mode", mode, ("constant", *_CONTINUATIONS))
    fill = 0.0 if value is None else check.number("pad", "value", value)
    if mode != "constant" and fill != 0.0:
        raise ValueError(f'pad: value belongs to mode="constant", found mode={mode!r}')
    padding = _amounts(pad, len(input.shape), mode)
    shape = input.shape
    for axis, (before, after) in enumerate(padding):
        if shape[axis] + min(before, 0) + min(after, 0) < 0:
            raise ValueError(f"pad: axis {axis} of size {shape[axis]} cannot be cropped by {(before, after)}")
    if len(shape) > 5 and len(shape) - _mergeable(padding) > 5:
        raise ValueError(
            f"pad: arrays of {len(shape)} axes can only be padded where neighbours without padding leave five axes"
        )
    check.elements("pad", "the result", tuple(n + sum(both) for n, both in zip(shape, padding, strict=True)))
    if mode == "constant":
        return apply(PAD, (input,), {"padding": tuple(padding), "value": fill})[0]
    return _continued(input, padding, mode, len(pad) // 2)


def _amounts(pad: Any, rank: int, mode: str) -> Amounts:
    """(before, after) of every axis."""
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad: pad must be a tuple of integers, found {pad!r}")
    amounts = [check.integer("pad", "pad", amount) for amount in pad]
    if len(amounts) % 2 or len(amounts) > 2 * rank:
        raise ValueError(f"pad: pad must hold two amounts for each of at most {rank} axes, found {len(amounts)}")
    axes = len(amounts) // 2
    if mode != "constant" and not (1 <= axes <= 3 and rank - axes in (1, 2)):
        raise ValueError(
            f"pad: mode={mode!r} continues the last one to three axes behind one or two others; "
            f"found {len(amounts)} amounts for {rank} axes"
        )
    padding = [(0, 0)] * rank
    for i in range(axes):
        padding[rank - 1 - i] = (amounts[2 * i], amounts[2 * i + 1])
    return padding


def _continued(input: Any, padding: Amounts, mode: str, axes: int) -> Any:
    """Continue an array beyond its ends by places of itself, axis after axis, the outermost first."""
    shape: Shape = input.shape
    rank = len(shape)
    if 0 in shape[rank - axes - 1 :]:
        raise ValueError(f"pad: mode={mode!r} needs an input that is empty in no axis but the batch, found {shape}")
    for axis in range(rank - axes, rank):
        before, after = padding[axis]
        size = shape[axis]
        left = size + min(before, 0) + min(after, 0)  # a circle closes behind what is cropped
        most = {"replicate": check.LARGEST, "reflect": size - 1, "circular": left}[mode]
        if max(before, after) > most:
            amounts = f"at most {most} on axis {axis} of size {size}"
            raise ValueError(f"pad: mode={mode!r} takes {amounts}, found {(before, after)}")
        if size + before + after < 1:
            raise ValueError(f"pad: nothing is left of axis {axis} of size {size} after {(before, after)}")
    for axis in range(rank - axes, rank):
        if any(padding[axis]):
            input = gathered(input, axis, _places(shape[axis], *padding[axis], mode))
    return input


def _places(size: int, before: int, after: int, mode: str) -> Array:
    """Where each place of the continued axis comes from."""
    places = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(places, 0, size - 1)
    if mode == "reflect":
        return np.asarray(size - 1 - np.abs(size - 1 - np.abs(places)))
    low, high = max(-before, 0), size - max(-after, 0)  # what is left after cropping goes round
    return np.asarray(low + (places - low) % (high - low))


def _mergeable(padding: list[tuple[int, int]]) -> int:
    """How many pairs of neighbouring axes are both without padding."""
    return sum(padding[i] == (0, 0) == padding[i + 1] for i in range(len(padding) - 1))
