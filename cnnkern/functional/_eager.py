# SPDX-License-Identifier: BSD-3-Clause
"""How an operation is computed on arrays: float32 by the core, float64 by the reference."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkern import _core
from cnnkern.graph import Array, Attrs, Node, OpDef

_FLOAT32 = np.dtype(np.float32)
_WARN_FROM = 10_000_000  # multiply-adds in float64
_warned = False


def evaluate(
    op: OpDef, inputs: Sequence[Any], attrs: Attrs, out: Array | None = None, algorithm: str = ""
) -> tuple[Array, ...]:
    """Compute an operation on arrays. `out` receives the first output; `algorithm` forces one of the core's."""
    dtype = _dtype(op, inputs, attrs)
    if dtype != _FLOAT32:
        if algorithm:
            raise ValueError(f"{op.name}: algorithm={algorithm!r} needs float32 arrays, found {dtype}")
        return _by_reference(op, inputs, attrs, out)
    arrays = tuple([plain(value) for value in inputs])
    specs = op.infer(arrays, attrs)
    if (
        op.lower is None
        or any(array is not None and not array.size for array in arrays)
        or any(0 in spec.shape for spec in specs)
    ):
        return _by_reference(op, inputs, attrs, out)
    outputs = tuple([np.empty(spec.shape, spec.dtype) for spec in specs])
    direct = False
    if out is not None and out.flags.carray:
        outputs, direct = (out, *outputs[1:]), True
    calls = op.lower(Node(op, arrays, attrs, outputs))
    if not calls:
        return (arrays[0].reshape(specs[0].shape),)
    for call in calls:
        _core.launch(
            call.op,
            call.attrs,
            [array if array is None or array.shape == shape else array.reshape(shape) for array, shape in call.args],
            algorithm,
        )
    for index in op.mutates:
        if arrays[index] is not inputs[index]:
            inputs[index][...] = arrays[index]
    return outputs if out is None or direct else _delivered(outputs, out)


def _dtype(op: OpDef, inputs: Sequence[Any], attrs: Attrs) -> np.dtype[Any]:
    """Of the first floating-point input, else (random numbers) of the result."""
    for value in inputs:
        if value is not None and value.dtype.kind == "f":
            return value.dtype  # type: ignore[no-any-return]
    dtype = np.dtype(op.infer(inputs, attrs)[0].dtype)
    if dtype.kind != "f":
        raise TypeError(f"{op.name}: no input is of a floating-point type")
    return dtype


def plain(value: Any) -> Any:
    """The array itself if the core can read it, else a C-contiguous, aligned copy."""
    if value is None:
        return None
    flags = value.flags
    return value if flags.c_contiguous and flags.aligned else np.array(value, order="C", copy=True, subok=False)


def _delivered(outputs: tuple[Array, ...], out: Array) -> tuple[Array, ...]:
    out[...] = outputs[0]
    return (out, *outputs[1:])


def _by_reference(op: OpDef, inputs: Sequence[Any], attrs: Attrs, out: Array | None) -> tuple[Array, ...]:
    from cnnkern import reference  # only programs that need it pay for the import

    specs = op.infer(inputs, attrs)
    if op.macs is not None:
        _warn_if_slow(op.name, op.macs(Node(op, tuple(inputs), attrs, specs)))
    arrays = [value if index in op.mutates else plain(value) for index, value in enumerate(inputs)]
    result = getattr(reference, op.name)(*arrays, **attrs)
    results = result if isinstance(result, tuple) else () if result is None else (result,)
    outputs = tuple(
        np.asarray(value).astype(spec.dtype, copy=False).reshape(spec.shape)
        for value, spec in zip(results, specs, strict=True)
    )
    return outputs if out is None else _delivered(outputs, out)


def depth_of_caller() -> int:
    """stacklevel of the first frame outside this package, for a warning given by the calling function."""
    package = os.path.dirname(os.path.dirname(__file__)) + os.sep
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        depth, frame = depth + 1, frame.f_back
    return depth


def _warn_if_slow(name: str, macs: int) -> None:
    global _warned
    if macs >= _WARN_FROM and not _warned:
        _warned = True
        warnings.warn(
            f"{name}: float64 arrays are computed by the slow reference; use .astype(np.float32) for the fast kernels",
            stacklevel=depth_of_caller(),
        )
