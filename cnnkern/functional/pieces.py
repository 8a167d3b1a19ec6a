# SPDX-License-Identifier: BSD-3-Clause
"""Parts of an array along one axis, and axes taken apart."""

from __future__ import annotations

from typing import Any

from cnnkern.functional import _check as check
from cnnkern.functional.shape import SLICE, reshape_to
from cnnkern.graph import apply, product


def _piece(input: Any, axis: int, start: int, stop: int) -> Any:
    return apply(SLICE, (input,), {"axis": axis, "start": start, "stop": stop})[0]


def _axis(function: str, input: Any, dim: Any) -> int:
    if not input.shape:
        raise ValueError(f"{function}: an array without axes has no parts")
    return check.axis(function, "dim", dim, len(input.shape))


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """Places start .. start + length - 1 of axis `dim` (torch.narrow); a negative start counts from the end."""
    check.floating("narrow", input=input)
    axis = _axis("narrow", input, dim)
    size = input.shape[axis]
    first = check.integer("narrow", "start", start, -size, size)
    count = check.integer("narrow", "length", length, 0)
    first += size if first < 0 else 0
    if first + count > size:
        raise ValueError(f"narrow: start {start} and length {length} go beyond axis {dim} of size {size}")
    return _piece(input, axis, first, first + count)


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of equal size along axis `dim`, the last one possibly smaller, or of given sizes (torch.split)."""
    check.floating("split", tensor=tensor)
    axis, name = _axis("split", tensor, dim), "split_size_or_sections"
    size = tensor.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [check.integer("split", name, each, 0) for each in split_size_or_sections]
        if sum(sizes) != size:
            raise ValueError(f"split: {name} must add up to the {size} places of axis {dim}, found {tuple(sizes)}")
    else:
        each = check.integer("split", name, split_size_or_sections, 0 if size == 0 else 1)
        sizes = [min(each, size - start) for start in range(0, size, each)] if size else [0]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(_piece(tensor, axis, start, start + count) for start, count in zip(starts, sizes, strict=True))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of equal size along axis `dim`, the last one possibly smaller (torch.chunk)."""
    check.floating("chunk", input=input)
    count, axis = check.integer("chunk", "chunks", chunks, 1), _axis("chunk", input, dim)
    size = input.shape[axis]
    if size == 0:
        return tuple(_piece(input, axis, 0, 0) for _ in range(count))
    return split(input, -(-size // count), axis)


def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """Axis `dim` as several axes of the given sizes, one of which may be -1 (torch.unflatten)."""
    check.floating("unflatten", input=input)
    axis = _axis("unflatten", input, dim)
    if not isinstance(sizes, (tuple, list)):
        raise TypeError(f"unflatten: sizes must be a tuple of integers, found {sizes!r}")
    found = [check.integer("unflatten", "sizes", size, -1) for size in sizes]
    size, known = input.shape[axis], product(each for each in found if each != -1)
    if found.count(-1) == 1 and known and size % known == 0:
        found[found.index(-1)] = size // known
    if not found or -1 in found or product(found) != size:
        raise ValueError(f"unflatten: axis {dim} of size {size} cannot be taken apart into {tuple(sizes)}")
    return reshape_to(input, (*input.shape[:axis], *found, *input.shape[axis + 1 :]))
