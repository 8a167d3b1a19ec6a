# SPDX-License-Identifier: BSD-3-Clause
"""Checks of arguments, shared by all functions: TypeError for what cannot be used, ValueError for what does not fit.

Every message begins with the function and names argument, expected and found. All helpers take the caller's name first.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from cnnkern.graph import Shape, Symbol, product

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
LARGEST = 2**31 - 1  # of a single size or attribute: the kernels' indices are int32
LARGEST_STEP = 2**24  # of a stride, padding, dilation or window
_MOST_ELEMENTS = 2**40  # of an array, 4 TiB in float32: offsets in bytes stay far inside int64


def _not_an_array(function: str, name: str, value: Any) -> TypeError:
    hint = f"{name}.numpy()" if hasattr(value, "numpy") else f"np.asarray({name}, dtype=np.float32)"
    return TypeError(f"{function}: {name} must be a NumPy array, found {type(value).__name__}; use {hint}")


def floating(function: str, optional: tuple[str, ...] = (), **arrays: Any) -> np.dtype[Any]:
    """All arguments (but None for the optional ones) are arrays of one dtype, float32 or float64. Returns it."""
    first_name, first = "", None
    for name, value in arrays.items():
        if not isinstance(value, (np.ndarray, Symbol)):
            if value is None and name in optional:
                continue
            raise _not_an_array(function, name, value)
        dtype = value.dtype
        if first is not None and dtype == first:
            continue
        if dtype != FLOAT32 and dtype != FLOAT64:
            raise TypeError(
                f"{function}: {name} must be float32 (or float64), found {dtype}; use {name}.astype(np.float32)"
            )
        if first is not None:
            wrong = name if dtype == FLOAT64 else first_name
            raise TypeError(
                f"{function}: {first_name} is {first} but {name} is {dtype}; use {wrong}.astype(np.float32)"
            )
        first_name, first = name, dtype
    assert first is not None
    return first


def integers(function: str, name: str, value: Any, low: int, high: int, ignore: int | None = None) -> Any:
    """Indices as int32: an int32 Symbol, or an integer array with all values in low .. high (or equal to `ignore`)."""
    if isinstance(value, Symbol):
        if value.dtype != np.int32:
            raise TypeError(
                f"{function}: {name} must be int32 while tracing, found {value.dtype}; use {name}.astype(np.int32)"
            )
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{function}: {name} must be a NumPy array of integers, found {type(value).__name__}; "
            f"use np.asarray({name})"
        )
    if value.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} must hold integers, found {value.dtype}; use {name}.astype(np.int64)")
    if value.size:
        wrong = (value < low) | (value > high)
        if ignore is not None:
            wrong &= value != ignore
        if wrong.any():
            raise ValueError(f"{function}: {name} must lie in {low} .. {high}, found {value[wrong].flat[0]}")
    return value.astype(np.int32, copy=False)


def integer(function: str, name: str, value: Any, low: int = -LARGEST, high: int = LARGEST) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: {name} must be an integer, found {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer, found {_shown(value)}") from None
    if not low <= number <= high:
        raise ValueError(f"{function}: {name} must be {_range(low, high, number)}, found {number}")
    return number


def _range(low: int, high: int, value: int) -> str:
    if high == LARGEST or (high == LARGEST_STEP and value < low):
        return "positive" if low == 1 else f"at least {low}" if low > -LARGEST else f"at least -{LARGEST}"
    return f"in {low} .. {high}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__}"


AXES = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}
MAPS = {1: ("(N, C, L)", "(C, L)"), 2: ("(N, C, H, W)", "(C, H, W)"), 3: ("(N, C, D, H, W)", "(C, D, H, W)")}
_NUMBERS = {1: "one", 2: "two", 3: "three"}


def sizes(function: str, name: str, value: Any, count: int, low: int, high: int = LARGEST_STEP) -> tuple[int, ...]:
    """An integer for each of `count` axes: of one integer or of so many; a single element counts for all of them."""
    if value.__class__ is int:
        return (integer(function, name, value, low, high),) * count
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            return (integer(function, name, value[0], low, high),) * count
        if len(value) != count:
            several = "" if count == 1 else f" or {_NUMBERS[count]} ({', '.join(AXES[count])})"
            raise ValueError(f"{function}: {name} must be one integer{several}, found {_shown(value)}")
        return tuple([integer(function, name, each, low, high) for each in value])
    return (integer(function, name, value, low, high),) * count


def pair(function: str, name: str, value: Any, low: int, high: int = LARGEST_STEP) -> tuple[int, int]:
    """(h, w) of an integer or of two."""
    height, width = sizes(function, name, value, 2, low, high)
    return height, width


def shape(function: str, name: str, value: Any, rank: int | None = None) -> Shape:
    """A shape given as argument, its sizes not negative."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{function}: {name} must be a tuple of integers, found {_shown(value)}")
    result = tuple(integer(function, name, size, 0) for size in value)
    if rank is not None and len(result) != rank:
        raise ValueError(f"{function}: {name} must have {rank} sizes, found {result}")
    return elements(function, name, result)


def elements(function: str, name: str, result: Shape) -> Shape:
    """A shape whose number of elements cannot overflow anywhere."""
    if 0 < product(result) <= LARGEST:  # the usual case, quickly
        return result
    if product(max(size, 1) for size in result) > _MOST_ELEMENTS or any(size > LARGEST for size in result):
        raise ValueError(f"{function}: {name} of shape {result} is too large")
    return result


def number(function: str, name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{function}: {name} must be a number, found {_shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{function}: {name} is too large for a floating-point number") from None


def finite(function: str, name: str, value: Any, low: float = -float("inf"), high: float = float("inf")) -> float:
    result = number(function, name, value)
    if not low <= result <= high or result in (float("inf"), -float("inf")):
        bounds = (
            "finite"
            if low == -float("inf")
            else f"in {low:g} .. {high:g}"
            if high < float("inf")
            else f"finite, at least {low:g}"
        )
        raise ValueError(f"{function}: {name} must be {bounds}, found {result}")
    return result


def boolean(function: str, name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: {name} must be True or False, found {_shown(value)}")
    return bool(value)


def choice(function: str, name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name} must be one of {', '.join(choices)}, found {_shown(value)}")
    if value not in choices:
        raise ValueError(f"{function}: {name} must be one of {', '.join(choices)}, found {value!r}")
    return value


def axis(function: str, name: str, value: Any, rank: int) -> int:
    """An axis, counted from the end if negative. A value without axes counts as having one, as in PyTorch."""
    if rank == 0:
        rank = 1
    return integer(function, name, value, -rank, rank - 1) % rank


def not_in_place(function: str, inplace: Any) -> None:
    if boolean(function, "inplace", inplace):
        raise ValueError(f"{function}: inplace=True is not possible, inputs are never changed; use the returned array")


def same_shape(function: str, name: str, value: Any, expected: Shape) -> None:
    if value.shape != expected:
        raise ValueError(f"{function}: {name} must have shape {expected}, found {value.shape}")


def vector(function: str, name: str, value: Any, length: int) -> None:
    """An optional vector with one element per channel (or feature, or class)."""
    if value is not None and value.shape != (length,):
        raise ValueError(f"{function}: {name} must have shape ({length},), found {value.shape}")


def maps(function: str, name: str, value: Any) -> Shape:
    """`map_shape` of an array with two spatial axes."""
    return map_shape(function, name, value.shape)


def map_shape(function: str, name: str, value: Shape, axes: int = 2) -> Shape:
    """Feature maps of so many spatial axes, (N, C, H, W), or one (C, H, W), nothing empty but the batch.

    Returns the shape with the batch.
    """
    if len(value) - axes not in (1, 2):
        batched, single = MAPS[axes]
        raise ValueError(f"{function}: {name} must have shape {batched} or {single}, found {value}")
    full = value if len(value) == axes + 2 else (1, *value)
    if 0 in full[1:]:
        raise ValueError(f"{function}: {name} must not be empty except for the batch, found {value}")
    return elements(function, name, full)


def layout_hint(value: Shape, channels: int, axes: int = 2) -> str:
    """What to add to a channel error if the channels seem to come last."""
    if value[-1] != channels:
        return ""
    batch = len(value) == axes + 2
    name = ("N" if batch else "") + ("L", "HW", "DHW")[axes - 1] + "C"
    order = (0, axes + 1, *range(1, axes + 1)) if batch else (axes, *range(axes))
    return f"; this looks like {name}, use x.transpose({', '.join(map(str, order))})"


def out(function: str, value: Any, expected: Shape, dtype: np.dtype[Any], *inputs: Any) -> None:
    """`out` can receive the result: an array of the right shape and dtype that shares no memory with an input."""
    if any(isinstance(each, Symbol) for each in inputs):
        raise TypeError(f"{function}: out cannot be given while tracing")
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{function}: out must be a NumPy array, found {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{function}: out must be {dtype} like the input, found {value.dtype}")
    if value.shape != expected:
        raise ValueError(f"{function}: out must have shape {expected}, found {value.shape}")
    if not value.flags.writeable:
        raise ValueError(f"{function}: out is read-only")
    if any(stride == 0 and size > 1 for stride, size in zip(value.strides, value.shape, strict=True)):
        raise ValueError(f"{function}: out overlaps itself (a stride is zero)")
    for each in inputs:
        if each is not None and _overlap(value, each):
            raise ValueError(f"{function}: out overlaps an input")


def _overlap(a: Any, b: Any) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]  # any bound is allowed
    except np.exceptions.TooHardError:
        return True
